"""Dry runs: figures of the published checkpoints, without weights, data or network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from videollama2.training import plan as planning
from videollama2.training.errors import TrainingError
from videollama2.training.memory import Memory
from videollama2.training.plan import plan
from videollama2.training.recipe_file import load_recipe

CONNECTOR, AUDIO_PROJECTOR = 376_889_248, 15_604_736  # the released sizes


@pytest.fixture
def memory_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory is not asked for, it is not counted: at the released size that takes a while."""
    nothing = Memory(weights=0, optimizer=0, step=0)
    monkeypatch.setattr(planning, "step_memory", lambda *_, **__: nothing)


def test_the_connector_stage() -> None:
    planned = plan(load_recipe("video_pretrain", ["values=released"]), devices=8)
    parts = {part.part: part for part in planned.parts}
    assert parts["connector"].total == parts["connector"].trainable == CONNECTOR
    assert sum(part.trainable for part in planned.parts) == CONNECTOR
    assert parts["language_model"].total == 7_615_616_512  # Qwen2-7B
    assert planned.tokens["video"] == 1352
    assert planned.accumulation == 4
    assert planned.steps == -(-1_261_000 // 256)
    assert planned.memory.optimizer == 8 * CONNECTOR
    # The released code was measured at 74.8 GiB at this size, in one process.
    assert 16.3 < planned.memory.weights / 2**30 < 16.4
    assert 40 < planned.memory.total / 2**30 < 70
    assert any("model.start is not set" in line for line in planned.warnings)


@pytest.mark.usefixtures("memory_aside")
def test_the_joint_stage() -> None:
    planned = plan(load_recipe("audio_visual_joint"))
    parts = {part.part: part for part in planned.parts}
    assert parts["audio_projector"].trainable == AUDIO_PROJECTOR
    assert parts["vision"].trainable == 0
    # all of BEATs but its head of 527 sound classes
    assert parts["audio"].total - parts["audio"].trainable == 527 * 769
    assert planned.tokens["audio-visual"] == 2848


@pytest.mark.usefixtures("memory_aside")
def test_adapters() -> None:
    """Rank r on a layer of n x m adds r(n + m): Qwen2-7B's seven layers, 28 times."""
    planned = plan(load_recipe("lora", ["adapter.rank=16"]))
    language = next(part for part in planned.parts if part.part == "language_model")
    d, kv, inner = 3584, 512, 18944
    per_layer = 2 * (d + d) + 2 * (d + kv) + 3 * (d + inner)
    assert language.adapters == language.trainable == 16 * 28 * per_layer


def test_four_bits(tmp_path: Path, settings: Callable[..., list[str]]) -> None:
    """Every weight of the language model's 2 x 6 linear layers whose rows hold whole blocks (of 32)
    in 4 bits and its share of two scales.
    """
    narrow, wide = (plan(load_recipe(name, settings(tmp_path))) for name in ("qlora", "lora"))
    assert narrow.parts == wide.parts
    linear = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 2 * 32 * 48)
    spared = linear * 2 - linear * (4 + 8 / 32 + 32 / (32 * 256)) / 8
    assert wide.memory.weights - narrow.memory.weights == pytest.approx(spared, abs=1)
    assert wide.memory.step == narrow.memory.step


def test_a_folder_and_its_data(
    tmp_path: Path, records_file: Path, settings: Callable[..., list[str]]
) -> None:
    planned = plan(load_recipe("video_finetune", settings(tmp_path, "data.ratio=null")))
    assert (planned.records, planned.steps) == (7, 7)
    assert planned.warnings == ()
    assert planned.tokens["video"] == 16
    lost = f"data.files=[{{path: {records_file}, folder: /nowhere}}]"
    warned = plan(load_recipe("video_finetune", settings(tmp_path, lost)))
    assert len(warned.warnings) == 5
    assert all("no such file" in line for line in warned.warnings)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.language_model=some/other", "its shape is not known"),
        ("model.vision=some/other", "its shape is not known"),
        ("train.audio=1e-3", "no audio to train"),
        ("batch.per_device=3", "no multiple"),
    ],
)
def test_what_cannot_be(setting: str, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        plan(load_recipe("video_pretrain", [setting]))
