"""vLLM in this process, one engine at a time, beside our own generation of the same checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from vllm_engines import start, stop

from videollama2.assistant import resolve
from videollama2.checkpoints.export import convert
from videollama2.model.config import VideoLlama2Config
from videollama2.model.model import VideoLlama2ForConditionalGeneration

WIDTH = 128  # with four heads: head size 32, the least that vLLM's CPU attention takes


@pytest.fixture(scope="module")
def engine() -> Iterator[Callable[..., Any]]:
    """Start an engine; the one before is ended."""
    running: list[Any] = []

    def begin(folder: Path | str, **more: Any) -> Any:
        while running:
            stop(running.pop())
        running.append(start(folder, **more))
        return running[0]

    yield begin
    while running:
        stop(running.pop())


@pytest.fixture(scope="session")
def starter() -> str:
    return resolve("starter")


@pytest.fixture(scope="session")
def remake(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A recorded variant's checkpoint, released layout, made again with random wider weights."""
    house = tmp_path_factory.mktemp("remade")
    for tower in recorded.glob("*-tiny-patch14-56"):
        shutil.copytree(tower, house / tower.name)
    shutil.copyfile(recorded / "beats_tiny.pt", house / "beats_tiny.pt")

    def make(name: str, **changes: Any) -> Path:
        folder = house / name
        if folder.exists():
            return folder
        plan = house / f"plan-{name}"
        plan.mkdir()
        raw = json.loads((recorded / name / "config.json").read_text())
        raw |= {"hidden_size": WIDTH, "initializer_range": 0.2, **changes}
        (plan / "config.json").write_text(json.dumps(raw))
        tokenizer = tiny.build_tokenizer(media_tokens=False)
        tokenizer.save_pretrained(plan)
        config = VideoLlama2Config.from_pretrained(plan)
        torch.manual_seed(0)
        model = VideoLlama2ForConditionalGeneration(config)
        native = house / f"native-{name}"
        model.save_pretrained(native)
        tokenizer.save_pretrained(native)
        return convert(native, folder, to="released")

    return make
