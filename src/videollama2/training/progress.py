"""What a run shows while it goes on: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from transformers import TrainerCallback

log = logging.getLogger("videollama2.training")
_Callback: Any = TrainerCallback  # it is untyped


class Progress(_Callback):
    """A bar on stderr if `terminal`, else a logged line every so many seconds."""

    def __init__(self, *, terminal: bool, every_seconds: float) -> None:
        self.terminal, self.every_seconds = terminal, every_seconds
        self._bar: Any = None
        self._task: Any = None
        self._spoke = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer once the first step is near."""
        if self.terminal and state.is_world_process_zero:
            self._bar = _bar()
            self._task = self._bar.add_task("", total=state.max_steps, said="")
            self._bar.update(self._task, completed=state.global_step)
            self._bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer after each step."""
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        """Called by the Trainer with a step's metrics."""
        if logs is None or "loss" not in logs or not state.is_world_process_zero:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step, said=summary(logs))
            return
        now = time.monotonic()
        last = state.global_step >= state.max_steps
        if not self._spoke or now - self._spoke >= self.every_seconds or last:
            self._spoke = now
            log.info("step %d of %d: %s", state.global_step, state.max_steps, summary(logs))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer after the last step."""
        self.close()

    def close(self) -> None:
        """Take the bar off the screen, however the run ended."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def summary(logs: Mapping[str, Any]) -> str:
    """A step's metrics in one line."""
    said = [f"loss {logs['loss']:.4g}"]
    for name, form in (
        ("samples_per_s", "{:.3g} samples/s"),
        ("tokens_per_s", "{:,.0f} tokens/s"),
        ("mfu", "MFU {:.1%}"),
        ("memory_gib", "{:.1f} GiB"),
    ):
        if name in logs:
            said.append(form.format(logs[name]))
    if "eta_s" in logs:
        said.append(f"{timedelta(seconds=int(logs['eta_s']))} left")
    return ", ".join(said)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (MofNCompleteColumn(), BarColumn(bar_width=24), TextColumn("{task.fields[said]}"))
    return Bar(*columns, console=Console(stderr=True), refresh_per_second=4)
