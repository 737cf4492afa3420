"""What can be wrong with a data set's files."""

from __future__ import annotations

from pathlib import Path


class DataSetError(ValueError):
    """A data set cannot be read as published: which file, which field of it, and what to do.

    `str()` is "file: reason. remedy".
    """

    def __init__(self, file: Path | str, reason: str, remedy: str, field: str | None = None):
        super().__init__(f"{file}: {reason}. {remedy}")
        self.file = str(file)
        self.field = field
        self.reason = reason
        self.remedy = remedy


class RowError(ValueError):
    """One row of an annotation file is malformed; `str()` is the reason, the same for its like."""


class MissingFieldError(RowError):
    """A row lacks a field."""

    def __init__(self, field: str):
        super().__init__(f"no field {field!r}")
        self.field = field


class PassedOverError(ValueError):
    """A row is well-formed but none of ours (another split, say); `str()` is the reason."""
