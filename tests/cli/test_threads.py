"""Threads within a container's share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from videollama2.cli import threads


@pytest.mark.parametrize(
    ("text", "most"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None), ("?", None)]
)
def test_processors(tmp_path: Path, text: str, most: int | None) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    everything = len(os.sched_getaffinity(0))
    assert threads.processors(quota) == (everything if most is None else most)
    assert threads.processors(tmp_path / "none") == everything


def test_what_was_decided_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "processors", lambda: 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    threads.settle_threads()
    assert torch.get_num_threads() == before
    monkeypatch.delenv("OMP_NUM_THREADS")
    try:
        threads.settle_threads()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
