"""The audio tower by itself, out of an original file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from videollama2.checkpoints.audio_tower import load_beats
from videollama2.checkpoints.errors import CheckpointError


def test_an_original_file_gives_its_own_weights(recorded: Path, house: Path) -> None:
    tower = load_beats(house / "beats_tiny.pt")
    original = torch.load(house / "beats_tiny.pt", weights_only=True)["model"]
    for name, value in tower.state_dict().items():
        assert torch.equal(value, original[name])
    assert not tower.training
    heard = load_file(recorded / "qwen2-siglip-stc_v35-beats" / "expected.safetensors")
    with torch.no_grad():
        assert tower.tag(heard["fbank"]).shape == heard["audio_tag_probabilities"].shape


def test_another_dtype(house: Path) -> None:
    tower = load_beats(house / "beats_tiny.pt", dtype=torch.bfloat16)
    assert {value.dtype for value in tower.parameters()} == {torch.bfloat16}


def test_what_does_not_fit_is_named(house: Path) -> None:
    content = torch.load(house / "beats_tiny.pt", weights_only=True)
    del content["model"]["encoder.layers.1.fc1.bias"]
    content["model"]["surplus"] = torch.ones(1)
    torch.save(content, house / "beats_tiny.pt")
    with pytest.raises(CheckpointError) as raised:
        load_beats(house / "beats_tiny.pt")
    assert "encoder.layers.1.fc1.bias" in str(raised.value)
    assert "surplus" in str(raised.value)


def test_an_encoder_built_otherwise_is_refused(house: Path) -> None:
    content = torch.load(house / "beats_tiny.pt", weights_only=True)
    content["cfg"]["layer_norm_first"] = True
    torch.save(content, house / "beats_tiny.pt")
    with pytest.raises(CheckpointError, match="layer_norm_first"):
        load_beats(house / "beats_tiny.pt")
    torch.save(content["model"], house / "beats_tiny.pt")
    with pytest.raises(CheckpointError, match="no 'cfg'"):
        load_beats(house / "beats_tiny.pt")
