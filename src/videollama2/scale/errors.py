"""What can be wrong with a bulk run as a whole; what is wrong with one clip is a row."""

from __future__ import annotations


class BulkError(ValueError):
    """A run cannot begin or go on; `str()` is "what: reason. remedy"."""

    def __init__(self, what: object, reason: str, remedy: str) -> None:
        super().__init__(f"{what}: {reason}. {remedy}")
        self.what = str(what)
        self.reason = reason
        self.remedy = remedy
