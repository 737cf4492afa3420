"""What can be wrong with a benchmark's files, a run's folder or a server."""

from __future__ import annotations

from pathlib import Path


class EvaluationError(ValueError):
    """An evaluation cannot go on; `str()` is "what: reason. remedy"."""

    def __init__(self, what: object, reason: str, remedy: str) -> None:
        super().__init__(f"{what}: {reason}. {remedy}")
        self.what = str(what)
        self.reason = reason
        self.remedy = remedy


class AnnotationError(EvaluationError):
    """An annotation file is missing or malformed: which file, which item, which field."""

    def __init__(
        self,
        file: Path | str,
        reason: str,
        remedy: str = "Give the file as published",
        *,
        where: str = "",
        field: str = "",
    ) -> None:
        place = f"{file}[{where}]" if where else str(file)
        super().__init__(place, f"field {field!r} {reason}" if field else reason, remedy)
        self.file = str(file)
        self.where = where
        self.field = field


class ServerError(EvaluationError):
    """A judge or endpoint is down or refuses: what is answered or judged so far is kept."""
