"""transformers' own ways to a processor take released layouts too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
from transformers import AutoProcessor

from videollama2 import CheckpointError, VideoLlama2Processor


@pytest.fixture
def released(recorded: Path, tmp_path: Path) -> Path:
    """A recorded checkpoint beside its tower, with a tokenizer put in."""
    folder = next(p.parent for p in recorded.glob("*siglip*/expected.safetensors"))
    for name in (folder.name, "siglip-tiny-patch14-56"):
        if (recorded / name).is_dir():
            shutil.copytree(recorded / name, tmp_path / name)
    return tmp_path / folder.name


def test_processor_of_a_released_folder(released: Path) -> None:
    tiny.build_tokenizer().save_pretrained(released)
    for processor in (
        VideoLlama2Processor.from_pretrained(released),
        AutoProcessor.from_pretrained(released),
    ):
        assert isinstance(processor, VideoLlama2Processor)
        assert processor.media_mode == "released"


def test_no_tokenizer_is_said(released: Path) -> None:
    with pytest.raises(CheckpointError, match="tokenizer"):
        VideoLlama2Processor.from_pretrained(released)
