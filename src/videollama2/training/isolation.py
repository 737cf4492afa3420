"""Work on hostile input in processes of their own: one that crashes costs itself alone."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from videollama2.training.errors import TrainingError

Task = TypeVar("Task")
Result = TypeVar("Result")
_START_S = 300.0  # a process that has not begun by then never will


@dataclass(frozen=True)
class Lost:
    """A task without a result: its process `kind` "crashed" or "timed out"; `reason` says how."""

    kind: str
    reason: str


@dataclass(eq=False)
class _Worker(Generic[Task]):
    process: Any
    wire: Connection
    task: Task | None
    deadline: float

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.wire.close()


def map_isolated(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int = 2,
    timeout_s: float = 120.0,
) -> Generator[tuple[Task, Result | Lost]]:
    """(task, result) as they are done, in any order; tasks are drawn as they are needed.

    `work` is a function of a module, run in `workers` fresh processes. Closing the generator, or
    Ctrl-C, ends them all.

    Raises:
        TrainingError: no process can be started.
    """
    waiting = iter(tasks)
    crew: list[_Worker[Task]] = []
    idle: list[_Worker[Task]] = []
    try:
        while True:
            drawn = _hand_out(work, waiting, crew, idle, workers, timeout_s)
            busy = [worker for worker in crew if worker not in idle]
            if not drawn and not any(worker.task is not None for worker in busy):
                return
            yield from _gather(busy, crew, idle)
    finally:
        for worker in crew:
            worker.stop()


def _hand_out(
    work: Callable[[Task], Any],
    waiting: Iterator[Task],
    crew: list[_Worker[Task]],
    idle: list[_Worker[Task]],
    workers: int,
    timeout_s: float,
) -> bool:
    """Give idle processes tasks and start missing ones; whether there may be more tasks."""
    while len(crew) < workers:
        crew.append(_start(work))
    while idle:
        task = next(waiting, None)
        if task is None:
            return False
        worker = idle.pop()
        try:
            worker.wire.send(task)
        except OSError:  # it died while it had nothing to do
            crew.remove(worker)
            worker.stop()
            worker = _start(work)
            _expect_ready(worker)
            crew.append(worker)
            worker.wire.send(task)
        worker.task, worker.deadline = task, time.monotonic() + timeout_s
    return True


def _gather(
    busy: list[_Worker[Task]], crew: list[_Worker[Task]], idle: list[_Worker[Task]]
) -> Iterator[tuple[Task, Any]]:
    """Wait for the first that is done, dead or overdue."""
    patience = max(min(worker.deadline for worker in busy) - time.monotonic(), 0.0)
    ready = wait([worker.wire for worker in busy], patience)
    for worker in busy:
        task = worker.task
        result: Any = None
        if worker.wire in ready:
            try:
                result = worker.wire.recv()
            except (EOFError, OSError):
                worker.process.join()
                result = Lost("crashed", _how(worker.process.exitcode))
        elif time.monotonic() >= worker.deadline:
            result = Lost("timed out", "it takes longer than it may")
        else:
            continue
        if task is None and isinstance(result, Lost):
            raise TrainingError(f"a process for reading media cannot start: {result.reason}")
        if isinstance(result, Lost) and result.kind in ("crashed", "timed out"):
            crew.remove(worker)
            worker.stop()
        else:
            worker.task = None
            idle.append(worker)
        if task is not None:
            yield task, result


def _start(work: Callable[[Any], Any]) -> _Worker[Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours, None, time.monotonic() + _START_S)


def _expect_ready(worker: _Worker[Any]) -> None:
    if not worker.wire.poll(_START_S):
        raise TrainingError("a process for reading media cannot start: it says nothing")
    worker.wire.recv()


def _serve(work: Callable[[Any], Any], wire: Connection) -> None:
    """The other process: ready, then a result for each task until nobody asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's Ctrl-C ends it
    _no_core_dump()
    with suppress(EOFError, OSError):
        wire.send(None)
        while True:
            task = wire.recv()
            try:
                result = work(task)
            except Exception as error:  # noqa: BLE001  (whatever it is, it is about this task)
                result = Lost("failed", f"{type(error).__name__}: {error}")
            wire.send(result)


def _no_core_dump() -> None:
    try:
        import resource
    except ImportError:  # not on every system
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"its process ended with status {code}"
    with suppress(ValueError):
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process was ended by signal {-code}"
