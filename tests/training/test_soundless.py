"""Clips without sound, or with sound shorter than the pictures, in a joint run; both ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
import torch

from videollama2.processing.fbank import fbank
from videollama2.training.collate import Collator, RowMaker, pad_id_of
from videollama2.training.data import read_lists
from videollama2.training.labels import ChatEncoder
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import load_for_training, train

RELEASED_TOKENS = 1496  # of 30 s, official BEATs branch
SILENCE = float(np.log(np.finfo(np.float32).eps))  # the filter bank's floor, -15.94
NAMES = ("whole", "short", "mute")


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of 3 s: heard to the end, heard for 1 s, without a soundtrack."""
    folder = tmp_path_factory.mktemp("soundless")
    clips.write_video(folder / "whole.mp4", 3.0)
    clips.write_video(folder / "short.mp4", 3.0, sound_s=1.0)
    clips.write_video(folder / "mute.mp4", 3.0, sound=False)
    talk = [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "This."}]
    rows = [{"id": n, "video": f"{n}.mp4", "conversations": talk} for n in NAMES]
    (folder / "records.json").write_text(json.dumps(rows))
    return folder / "records.json"


@pytest.fixture
def joint(listed: Path, settings: Callable[..., list[str]], tmp_path: Path) -> Callable[..., Any]:
    def make(mode: str, *more: str, sound: str = "null") -> Any:
        file = f"{{path: {listed}, folder: {listed.parent}, sound: {sound}}}"
        given = settings(tmp_path / f"run-{mode}-{sound}", f"data.files=[{file}]", *more)
        return load_recipe(
            "audio_visual_joint",
            [*given, f"model.media_mode={mode}", "batch.total=3", "batch.per_device=3"],
        )

    return make


def rows_of(recipe: Any) -> tuple[Any, Any, list[Any]]:
    model, processor = load_for_training(recipe)
    maker = RowMaker(processor, ChatEncoder(processor))
    return model, processor, [maker.make(record) for record in read_lists(recipe).lists[0]]


def test_as_released(joint: Callable[..., Any]) -> None:
    """Every clip has 30 s of sound; where there is none it is silence, and it is heard."""
    model, processor, rows = rows_of(joint("released"))
    for row in rows:
        assert row.ids.count(processor.audio_token_id) == RELEASED_TOKENS
    mute = rows[2].media[0].features
    torch.testing.assert_close(mute, torch.full((2998, 128), SILENCE), rtol=0, atol=1e-4)
    assert torch.equal(mute, fbank(torch.zeros(480_000), 128))
    assert not model.config.audio_config.mask_padding
    # Eight clips of 2 s, 16 s in all, then zeros (`process_audio_from_video`).
    whole = rows[0].media[0].features
    assert whole[:1500].mean() > SILENCE + 1
    assert torch.equal(whole[1700:], mute[1700:])


def test_masked(joint: Callable[..., Any]) -> None:
    """Only what is heard becomes tokens, and no clip's loss depends on its neighbours."""
    model, processor, rows = rows_of(joint("native"))
    counts = [row.ids.count(processor.audio_token_id) for row in rows]
    assert counts[0] > counts[1] > 0
    assert counts[2] == 0
    assert {row.ids.count(processor.video_token_id) for row in rows} == {16}
    assert model.config.audio_config.mask_padding
    collate = Collator(pad_id_of(processor.tokenizer))
    model.eval()

    def loss(some: list[Any]) -> torch.Tensor:
        batch = collate(some)
        batch.pop("skipped")
        with torch.no_grad():
            return model(**batch, num_items_in_batch=1).loss

    torch.testing.assert_close(loss(rows), sum(loss([row]) for row in rows), rtol=1e-5, atol=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["released", "native"])
def test_a_joint_run_takes_them(mode: str, joint: Callable[..., Any], tmp_path: Path) -> None:
    recipe = joint(mode, "optimizer.epochs=1")
    outcome = train(recipe)
    assert outcome.model is not None
    assert not (Path(recipe.run.folder) / "skipped.jsonl").exists()


def test_sound_that_is_demanded(joint: Callable[..., Any]) -> None:
    """`sound: true` in the recipe: a clip without it is skipped and listed, no other takes its
    place.
    """
    recipe = joint("native", "optimizer.epochs=1", "data.max_skipped=1.0", sound="true")
    train(recipe)
    lines = (Path(recipe.run.folder) / "skipped.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["mute"]
