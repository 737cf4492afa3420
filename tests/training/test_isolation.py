"""Tasks that crash, hang or fail cost themselves alone."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator

import hostile

from videollama2.training.isolation import Lost, map_isolated


def test_each_task_has_its_result() -> None:
    tasks = ["a", "segfault", "b", "hang", "exit", "c", "raise", "d", "e"]
    began = time.monotonic()
    results = dict(map_isolated(hostile.work, tasks, workers=2, timeout_s=4))
    assert time.monotonic() - began < 120
    assert {task: results[task] for task in "abcde"} == {task: task.upper() for task in "abcde"}
    assert results["segfault"] == Lost("crashed", "its process was ended by SIGSEGV")
    assert results["exit"] == Lost("crashed", "its process ended with status 3")
    assert results["hang"] == Lost("timed out", "it takes longer than it may")
    assert results["raise"] == Lost("failed", "RuntimeError: no")


def test_tasks_are_drawn_as_needed_and_nobody_is_left() -> None:
    drawn: list[int] = []

    def endless() -> Iterator[str]:
        for index in range(10**9):
            drawn.append(index)
            yield f"t{index}"

    others = {*multiprocessing.active_children()}  # of tests that ran before
    results = map_isolated(hostile.work, endless(), workers=2, timeout_s=60)
    first = [next(results) for _ in range(5)]
    assert all(result == task.upper() for task, result in first)
    assert len(drawn) < 12
    results.close()
    assert not {*multiprocessing.active_children()} - others


def test_nothing_to_do() -> None:
    assert list(map_isolated(hostile.work, iter(()), workers=1)) == []
