"""Records that could not be used: counted, listed in a file, and too many of them end the run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from videollama2.training.errors import TooManySkippedError

FEW = 200  # a fraction of fewer records says nothing yet


@dataclass(frozen=True)
class Skipped:
    """A record that was left out, at which position of the run, and why."""

    position: int
    id: str
    file: str
    line: int
    reason: str


class SkippedList:
    """`skipped.jsonl` of a run, one line a record.

    `allowed` is the fraction of the records read so far that may be left out; of the first
    `FEW`, or of all `total` of a shorter run, that many at once.
    """

    def __init__(self, path: Path, allowed: float, total: int) -> None:
        self.path, self.allowed, self.total = path, allowed, total
        self.count = 0

    def restart(self, position: int) -> None:
        """Go on from a position: what was noted from there on comes again."""
        if not self.path.exists():
            self.count = 0
            return
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if _position(line) < position]
        self.count = len(kept)
        replace_text(self.path, "".join(kept))

    def add(self, skipped: Iterable[Skipped], seen: int, *, write: bool = True) -> None:
        """Note records; `seen` is how many have been read, these among them.

        Without `write` they are counted alone: another process writes them.

        Raises:
            TooManySkippedError: they are more than allowed.
        """
        new = list(skipped)
        if not new:
            return
        self.count += len(new)
        if write:
            with self.path.open("a", encoding="utf-8") as file:
                for one in new:
                    file.write(json.dumps(asdict(one), ensure_ascii=False) + "\n")
        if self.count > self.allowed * max(seen, min(self.total, FEW)):
            raise TooManySkippedError(
                self.count, seen, self.allowed, str(self.path), f"{new[-1].id}: {new[-1].reason}"
            )


def replace_text(path: Path, text: str) -> None:
    """Write a whole file or leave it as it was."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _position(line: str) -> float:
    """A line's position; one that a killed run left unfinished counts as the last."""
    try:
        return int(json.loads(line)["position"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
