"""`metrics.jsonl` of a run: one line a step, taken up where a run goes on."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.training.skipped import replace_text


@dataclass(frozen=True)
class Counted:
    """A batch's records, their tokens, and the places of its tensors, padding among them."""

    records: int
    tokens: int
    places: int


class Metrics:
    """What a run says of itself, as JSON Lines. Numbers are written so that they read the same."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._since = time.monotonic()
        self._samples = self._tokens = self._places = 0

    def restart(self, step: int) -> None:
        """Go on after a step: what was noted of later ones comes again."""
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            replace_text(self.path, "".join(line for line in lines if _step(line) <= step))

    def saw(self, counted: Counted) -> None:
        """Count what has been worked on, in whichever process."""
        self._samples += counted.records
        self._tokens += counted.tokens
        self._places += counted.places

    def note(self, **values: Any) -> None:
        """One line, with the speed since the last, and the share of padding."""
        now = time.monotonic()
        seconds = max(now - self._since, 1e-9)
        line = {
            **values,
            "samples_per_s": round(self._samples / seconds, 3),
            "tokens_per_s": round(self._tokens / seconds, 1),
            "padding": round(1 - self._tokens / max(self._places, 1), 4),
        }
        self._since, self._samples, self._tokens, self._places = now, 0, 0, 0
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _step(line: str) -> float:
    """A line's step; one that a killed run left unfinished counts as the last."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
