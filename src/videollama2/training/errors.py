"""What can be wrong with a training run, each said in one line with where and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class TrainingError(ValueError):
    """A training run cannot start or go on."""


class FormError(ValueError):
    """A record's form is wrong; `kind` names in a few words what sort of mistake it is."""

    def __init__(self, kind: str, reason: str) -> None:
        self.kind = kind
        super().__init__(reason)


class RecordError(TrainingError):
    """A record is not as it should be.

    `file` and `line` (from 1; 0 where there is none) say where it stands, `reason` what is wrong,
    `kind` what sort of mistake it is, to count by.
    """

    def __init__(self, file: str, line: int, reason: str, kind: str = "malformed") -> None:
        self.file, self.line, self.reason, self.kind = file, line, reason, kind
        super().__init__(f"{file}:{line}: {reason}" if line else f"{file}: {reason}")

    def __reduce__(self) -> tuple[type[RecordError], tuple[str, int, str, str]]:
        """Travel between processes (data loader workers)."""
        return (type(self), (self.file, self.line, self.reason, self.kind))


class RecordsError(TrainingError):
    """Several records are not as they should be: `errors`, one line each."""

    SHOWN = 20

    def __init__(self, errors: Sequence[RecordError]) -> None:
        self.errors = tuple(errors)
        lines = [str(error) for error in self.errors[: self.SHOWN]]
        if len(self.errors) > self.SHOWN:
            lines.append(f"... and {len(self.errors) - self.SHOWN} more")
        super().__init__("\n".join(lines))


class TooManySkippedError(TrainingError):
    """More records than the recipe allows could not be read."""

    def __init__(self, skipped: int, seen: int, allowed: float, listed_in: str, last: str) -> None:
        self.skipped, self.seen, self.allowed = skipped, seen, allowed
        super().__init__(
            f"{skipped} of {seen} records could not be used, more than the {allowed:.1%} that "
            f"data.max_skipped allows; the last one: {last}. All are listed in {listed_in}"
        )
