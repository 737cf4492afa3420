"""The model without its output layer, saved alone or taken out of a whole one: nothing random."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from transformers import AutoModel

from videollama2 import VideoLlama2ForConditionalGeneration, VideoLlama2Model
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.load import load_model

Load = Callable[[Path], Any]
ROADS = pytest.mark.parametrize(
    "load", [load_model, VideoLlama2ForConditionalGeneration.from_pretrained]
)


def model_with(*, tied: bool) -> VideoLlama2ForConditionalGeneration:
    torch.manual_seed(0)
    config = tiny.build_config(tiny.build_tokenizer(), tie_word_embeddings=tied)
    config.text_config.tie_word_embeddings = tied
    return VideoLlama2ForConditionalGeneration(config)


def assert_same(one: torch.nn.Module, other: torch.nn.Module) -> None:
    left, right = one.state_dict(), other.state_dict()
    assert left.keys() == right.keys()
    assert [name for name, value in left.items() if not torch.equal(value, right[name])] == []


@ROADS
def test_a_trunk_with_tied_words_is_a_model(load: Load, tmp_path: Path) -> None:
    model = model_with(tied=True)
    model.model.save_pretrained(tmp_path)
    assert_same(model, load(tmp_path))


@ROADS
def test_a_trunk_without_output_layer_is_refused(load: Load, tmp_path: Path) -> None:
    model_with(tied=False).model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"1 missing:\s+lm_head.weight") as caught:
        load(tmp_path)
    assert "VideoLlama2Model.from_pretrained" in str(caught.value)


def test_a_trunk_is_read_as_itself(tmp_path: Path) -> None:
    model = model_with(tied=False)
    model.model.save_pretrained(tmp_path)
    assert_same(model.model, VideoLlama2Model.from_pretrained(tmp_path))
    assert_same(model.model, AutoModel.from_pretrained(tmp_path))


@pytest.mark.parametrize("tied", [True, False])
def test_the_trunk_of_a_whole_model(tied: bool, tmp_path: Path) -> None:
    model = model_with(tied=tied)
    model.save_pretrained(tmp_path)
    assert_same(model.model, AutoModel.from_pretrained(tmp_path))
    trunk, told = VideoLlama2Model.from_pretrained(tmp_path, output_loading_info=True)
    assert_same(model.model, trunk)
    assert not told["missing_keys"]
    trunk.save_pretrained(tmp_path / "again")
    assert_same(model.model, VideoLlama2Model.from_pretrained(tmp_path / "again"))


def test_the_trunk_of_a_released_checkpoint(recorded: Path) -> None:
    folder = next(path.parent for path in sorted(recorded.glob("*/expected.safetensors")))
    assert_same(load_model(folder).model, VideoLlama2Model.from_pretrained(folder))
