"""The language model split over two processes: the answers of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vllm_engines import HEARS, answers, ours, questions


@pytest.mark.parametrize("name", [HEARS, "mixtral-clip-stc"])
def test_two_processes(
    name: str, remake: Callable[..., Path], engine: Callable[..., Any], media_folder: Path
) -> None:
    folder = remake(name)
    asked = questions(media_folder, hears=name == HEARS)
    split = engine(folder, tensor_parallel_size=2, distributed_executor_backend="mp")
    assert answers(split, asked) == answers(ours(folder), asked)
