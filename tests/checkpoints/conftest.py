"""Checkpoints of every layout, made of one recorded variant's parts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

MISTRAL = "mistral-clip-stc"
MIXTRAL = "mixtral-clip-stc"
SOUND = "qwen2-siglip-stc_v35-beats"
CLIP = "clip-vit-tiny-patch14-56"
PARTS = ("vision_tower", "mm_projector", "audio_tower", "mm_projector_a")

State = dict[str, torch.Tensor]


def weights_of(folder: Path) -> State:
    """A recorded variant's tensors, by other means than ours."""
    if (folder / "model.safetensors").exists():
        return load_file(folder / "model.safetensors")
    return torch.load(folder / "pytorch_model.bin", weights_only=True)


def part_of(name: str) -> str:
    return next((part for part in sorted(PARTS, key=len)[::-1] if f"model.{part}." in name), "text")


def split(state: State) -> dict[str, State]:
    parts: dict[str, State] = {}
    for name, value in state.items():
        parts.setdefault(part_of(name), {})[name] = value
    return parts


def write_language_model(folder: Path, config: dict, state: State) -> Path:
    """A plain language model as the hub has it, with the released checkpoint's weights."""
    folder.mkdir(parents=True)
    plain = {k: v for k, v in config.items() if not k.startswith("mm_")}
    plain["model_type"] = config["model_type"].removeprefix("videollama2_")
    (folder / "config.json").write_text(json.dumps(plain))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def house(recorded: Path, tmp_path: Path) -> Path:
    """A folder with the towers beside; checkpoints go into it."""
    root = tmp_path / "house"
    root.mkdir()
    for name in (CLIP, "siglip-tiny-patch14-56"):
        shutil.copytree(recorded / name, root / name)
    shutil.copyfile(recorded / "beats_tiny.pt", root / "beats_tiny.pt")
    return root


@pytest.fixture
def full(recorded: Path, house: Path) -> Path:
    """The Mistral variant, whole."""
    return Path(shutil.copytree(recorded / MISTRAL, house / "full"))


@pytest.fixture
def base(full: Path, house: Path) -> Path:
    """The same in the Base layout: connector only, language model and tower from elsewhere."""
    config = json.loads((full / "config.json").read_text())
    parts = split(weights_of(full))
    write_language_model(house / "tiny-mistral", config, parts["text"])
    folder = house / "stage-1"
    folder.mkdir()
    config |= {"_name_or_path": "someone/tiny-mistral", "tune_mm_mlp_adapter": True}
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(parts["mm_projector"], folder / "mm_projector.bin")
    return folder


@pytest.fixture
def sounding(recorded: Path, house: Path) -> Path:
    """The audio-visual variant, whole, as `.bin`."""
    return Path(shutil.copytree(recorded / SOUND, house / "sounding"))
