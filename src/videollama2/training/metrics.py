"""`metrics.jsonl` of a run: one line a step, taken up where a run goes on."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videollama2.training.skipped import replace_text


@dataclass(frozen=True)
class Counted:
    """The tokens of each record of a batch, and the places of its tensors, padding among them."""

    lengths: tuple[int, ...]
    places: int

    @property
    def records(self) -> int:
        """How many records there are."""
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Their tokens."""
        return sum(self.lengths)


class Metrics:
    """What a run says of itself, as JSON Lines. Numbers are written so that they read the same.

    `peak_flops` is what all devices together can do in a second (None: unknown).
    """

    def __init__(self, path: Path, *, peak_flops: float | None = None) -> None:
        self.path, self.peak_flops = path, peak_flops
        self._begun = self._since = 0.0  # seconds; 0: not yet
        self._steps_done = self._steps_since = 0
        self._samples = self._tokens = self._places = 0
        self._flops = 0.0

    def restart(self, step: int) -> None:
        """Go on after a step: what was noted of later ones comes again."""
        if self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            replace_text(self.path, "".join(line for line in lines if _step(line) <= step))

    def step_begins(self) -> None:
        """The time runs from the first of these on."""
        if not self._begun:
            self._begun = self._since = time.monotonic()
        self._steps_since += 1

    def worked(self, flops: float) -> None:
        """Count a process's work."""
        self._flops += flops

    def saw(self, counted: Counted) -> None:
        """Count what a process has worked on."""
        self._samples += counted.records
        self._tokens += counted.tokens
        self._places += counted.places

    def speed(self, steps_left: int) -> dict[str, float]:
        """Speed and padding since the last call, the most memory so far, and the time left.

        Samples, tokens and work are those of all processes, memory this one's. `mfu` is the
        model's FLOPs in a second over what the devices can do, where that is known.
        """
        now = time.monotonic()
        seconds = max(now - self._since, 1e-9)
        steps = max(self._steps_since, 1)
        self._steps_done += steps
        each = (now - self._begun) / self._steps_done
        found = {
            "samples_per_s": round(self._samples / seconds, 3),
            "tokens_per_s": round(self._tokens / seconds, 1),
            "seconds_per_step": round(seconds / steps, 4),
            "tflops_per_s": round(self._flops / seconds / 1e12, 4),
            "padding": round(1 - self._tokens / max(self._places, 1), 4),
            "eta_s": round(steps_left * each),
        }
        if self.peak_flops is not None:
            found["mfu"] = round(self._flops / seconds / self.peak_flops, 4)
        memory = peak_memory()
        if memory is not None:
            found["memory_gib"] = round(memory / 2**30, 3)
        self._since, self._steps_since = now, 0
        self._samples = self._tokens = self._places = 0
        self._flops = 0.0
        return found

    def note(self, **values: Any) -> None:
        """Write one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


def peak_memory() -> int | None:
    """Bytes that this process had at most: of the accelerator's, else resident ones."""
    if torch.accelerator.is_available():
        return int(torch.accelerator.max_memory_allocated())
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a `metrics.jsonl`; none where there is no file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if _step(line) != float("inf")]


def _step(line: str) -> float:
    """A line's step; one that a killed run left unfinished counts as the last."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
