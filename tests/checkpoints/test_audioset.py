"""Sounds have the names that AudioSet gave them, at the places where BEATs' head has them."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from videollama2.assistant import sound_class_names
from videollama2.checkpoints.audioset import beats_names, classes
from videollama2.checkpoints.beats_file import read_beats_config
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.layouts import upgrade_config
from videollama2.model.config import BeatsConfig, VideoLlama2Config

MANIFEST = Path(__file__).parents[1] / "recorded" / "manifests" / "VideoLLaMA2.1-7B-AV.json.gz"

# Place in BEATs' head -> row of AudioSet's class_labels_indices.csv, as whoever compared them
# published it (https://github.com/microsoft/unilm/issues/1012), and what AudioSet has in that row.
PUBLISHED = {
    18: (9, "/m/07q4ntr", "Bellow"),
    20: (0, "/m/09x0r", "Speech"),
    34: (14, "/m/03qc9zr", "Screaming"),
    49: (27, "/m/015lz1", "Singing"),
    61: (72, "/m/0jbk", "Animal"),
    64: (32, "/t/dd00003", "Male singing"),
    94: (68, "/m/07rkbfh", "Chatter"),
    134: (60, "/m/02_nn", "Fart"),
    149: (74, "/m/0bt9lr", "Dog"),
    151: (7, "/m/0brhx", "Speech synthesizer"),
    156: (47, "/m/01b_21", "Cough"),
    185: (53, "/m/07pbtc8", "Walk, footsteps"),
}


def test_every_class_once_and_in_its_place() -> None:
    mids, names = zip(*classes(), strict=True)
    assert len(set(mids)) == len(set(names)) == 527
    for place, (_, mid, name) in PUBLISHED.items():
        assert classes()[place] == (mid, name)


def labelled(house: Path, labels: Any) -> Path:
    content = torch.load(house / "beats_tiny.pt", weights_only=True)
    torch.save({**content, "label_dict": labels}, house / "labelled.pt")
    return house / "labelled.pt"


@pytest.fixture
def house(tmp_path: Path, recorded: Path) -> Path:
    shutil.copyfile(recorded / "beats_tiny.pt", tmp_path / "beats_tiny.pt")
    return tmp_path


def test_a_file_says_its_order_itself(house: Path) -> None:
    labels = dict(enumerate(["/m/0bt9lr", "/m/09x0r", "my own", "/m/01b_21", "a", "b", "c"]))
    config = BeatsConfig(**read_beats_config(str(labelled(house, labels)), None))
    named = {0: "Dog", 1: "Speech", 2: "my own", 3: "Cough", 4: "a", 5: "b", 6: "c"}
    assert sound_class_names(config) == named
    assert (
        sound_class_names(BeatsConfig(**read_beats_config(str(house / "beats_tiny.pt"), None)))
        == {}
    )


@pytest.mark.parametrize("labels", [{"x": "y"}, {0: ["a"]}, {0: 3}, {None: "a"}])
def test_labels_that_are_none(house: Path, labels: Any) -> None:
    with pytest.raises(CheckpointError, match="label_dict"):
        read_beats_config(str(labelled(house, labels)), None)


@pytest.fixture
def released() -> dict[str, Any]:
    return json.loads(gzip.decompress(MANIFEST.read_bytes()))["config"]


def test_released_ears_have_names_and_keep_them(released: dict[str, Any], tmp_path: Path) -> None:
    config = VideoLlama2Config(**upgrade_config(released, tmp_path))
    assert sound_class_names(config.audio_config) == beats_names()
    config.save_pretrained(tmp_path / "ours")
    again = VideoLlama2Config.from_pretrained(tmp_path / "ours")
    assert sound_class_names(again.audio_config) == beats_names()


def test_ears_of_unknown_origin_have_none(released: dict[str, Any], tmp_path: Path) -> None:
    """527 classes alone say nothing about their order."""
    encoder = BeatsConfig(conv_pos=64).to_dict()
    (tmp_path / "audio_tower.json").write_text(json.dumps(encoder))
    theirs = {**released, "mm_audio_tower": "audio_tower.bin"}
    config = VideoLlama2Config(**upgrade_config(theirs, tmp_path))
    assert config.audio_config.num_sound_classes == 527
    assert sound_class_names(config.audio_config) == {}
