"""Audio-visual models as a start: joint runs upon joint runs, then adapters; ours, released."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from videollama2 import VideoLlama2, VideoLlama2ForConditionalGeneration
from videollama2.checkpoints.compose import Parts, compose
from videollama2.checkpoints.load import load_model
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train

Settings = Callable[..., list[str]]
FAST = ("optimizer.epochs=2", "batch.total=4", "batch.per_device=4", "data.ratio=null")
RELEASED = "qwen2-siglip-stc_v35-beats"


def run(name: str, start: str | Path, folder: Path, settings: Settings, *more: str) -> Path:
    given = settings(folder, *FAST, f"model.start={start}", *more)
    outcome = train(load_recipe(name, given))
    assert outcome.model is not None
    return outcome.model


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()]


def differing(one: Path, other: Path) -> set[str]:
    left, right = load_model(one).state_dict(), load_model(other).state_dict()
    assert left.keys() == right.keys()
    return {name.split(".")[1] for name in left if not torch.equal(left[name], right[name])}


@pytest.fixture
def released(recorded: Path, tiny_folder: Path, tmp_path: Path) -> Path:
    """The recorded audio-visual checkpoint, whole, with a tokenizer."""
    folder = shutil.copytree(recorded / RELEASED, tmp_path / "released")
    shutil.copytree(recorded / "siglip-tiny-patch14-56", tmp_path / "siglip-tiny-patch14-56")
    shutil.copyfile(recorded / "beats_tiny.pt", tmp_path / "beats_tiny.pt")
    return compose(
        tmp_path / "speaking", Parts(model=str(folder), tokenizer=str(tiny_folder))
    ).folder


@pytest.mark.parametrize("begin", ["starter", "released"])
def test_joint_upon_joint_upon_adapters(
    begin: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    settings: Settings,
    media_folder: Path,
) -> None:
    start = begin if begin == "starter" else request.getfixturevalue("released")
    rates = ("train.connector=1e-3", "train.language_model=1e-3", "train.audio=1e-3",
             "train.audio_projector=1e-3")  # fmt: skip
    first = run("audio_visual_joint", start, tmp_path / "first", settings, *rates)
    again = run("audio_visual_joint", first, tmp_path / "again", settings, *rates)
    learned = {"connector", "audio_tower", "audio_projector", "language_model"}
    assert learned <= differing(first, again) <= {*learned, "weight"}  # the output layer's
    assert losses(tmp_path / "again")[0] < losses(tmp_path / "first")[0]
    more = ("adapter.rank=2", "adapter.learning_rate=1e-3", "train.connector=1e-3")
    adapted = run("lora", again, tmp_path / "lora", settings, *more)
    assert differing(again, adapted) == {"connector", "language_model"}
    upon = VideoLlama2ForConditionalGeneration.from_pretrained(tmp_path / "lora" / "adapter")
    merged: Any = load_model(adapted).state_dict()
    for name, value in upon.state_dict().items():
        torch.testing.assert_close(value, merged[name])
    answer = VideoLlama2.from_pretrained(str(adapted)).ask(
        "What is it?", video=media_folder / "clip.mp4", max_new_tokens=4
    )
    assert isinstance(str(answer), str)
