"""The processor of every layout: tokenizer, image settings, mode, ids that the model knows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.export import convert
from videollama2.checkpoints.load import load_model, load_processor
from videollama2.processing.processor import VideoLlama2Processor

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
KINDS = ("video", "image", "audio")


@pytest.fixture
def speaking(full: Path, tiny_folder: Path) -> Path:
    """The full layout with a tokenizer."""
    for name in TOKENIZER:
        shutil.copyfile(tiny_folder / name, full / name)
    return full


def ids(source: object) -> list[int]:
    return [int(getattr(source, f"{kind}_token_id")) for kind in KINDS]


def test_a_released_checkpoint_is_read_as_released(speaking: Path, recorded: Path) -> None:
    processor = load_processor(speaking)
    assert processor.media_mode == "released"
    tower = json.loads(
        (recorded / "clip-vit-tiny-patch14-56" / "preprocessor_config.json").read_text()
    )
    assert list(processor.image_processor.settings.image_mean) == tower["image_mean"]
    assert processor.video_processor.num_frames == 8
    assert ids(processor) == ids(load_model(speaking).config)
    assert processor.tokenizer.convert_tokens_to_ids("<video>") == processor.video_token_id


def test_the_converted_one_reads_alike(speaking: Path, tmp_path: Path) -> None:
    convert(speaking, tmp_path / "native")
    first = load_processor(speaking)
    for other in (
        load_processor(tmp_path / "native"),
        VideoLlama2Processor.from_pretrained(tmp_path / "native"),
    ):
        assert other.media_mode == "released"
        assert ids(other) == ids(first)
        assert other.image_processor.settings == first.image_processor.settings
        assert other.tokenizer("a clip")["input_ids"] == first.tokenizer("a clip")["input_ids"]
    assert ids(load_model(tmp_path / "native").config) == ids(first)


def test_a_native_folder(tiny_folder: Path) -> None:
    processor = load_processor(tiny_folder)
    assert processor.media_mode == "native"
    assert ids(processor) == ids(load_model(tiny_folder).config)


def test_without_a_tokenizer_it_is_said(full: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no tokenizer.*tokenizer\.json"):
        load_processor(full)


def test_base_and_adapter_take_their_language_models_tokenizer(
    base: Path, tiny_folder: Path
) -> None:
    with pytest.raises(CheckpointError, match="no tokenizer"):
        load_processor(base)
    for name in TOKENIZER:
        shutil.copyfile(tiny_folder / name, base.parent / "tiny-mistral" / name)
    assert load_processor(base).media_mode == "released"


def test_a_damaged_tokenizer_is_named(speaking: Path) -> None:
    (speaking / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="tokenizer"):
        load_processor(speaking)
