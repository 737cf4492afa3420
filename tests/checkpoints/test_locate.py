"""The hub, played by a folder: what is asked of it, and what an answer makes."""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import pytest
import torch

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.load import is_released_checkpoint, load_model


class Hub:
    """`snapshot_download` out of a folder of `ORG--NAME` folders; remembers what it gave."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        self.given: dict[str, set[str]] = {}
        self.revisions: dict[str, str | None] = {}

    def __call__(
        self, name: str, *, allow_patterns: list[str], revision: str | None, **_: object
    ) -> str:
        source, target = (
            self.folder / name.replace("/", "--"),
            self.cache / name.replace("/", "--") / "snapshots" / "0",
        )
        if not source.is_dir():
            raise FileNotFoundError(f"no repository {name}")
        target.mkdir(parents=True, exist_ok=True)
        self.revisions[name] = revision
        for path in source.iterdir():
            if path.is_file() and any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                shutil.copyfile(path, target / path.name)
                self.given.setdefault(name, set()).add(path.name)
        return str(target)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    folder = tmp_path / "hub"
    folder.mkdir()
    played = Hub(folder, tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", played)
    return played


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_a_full_checkpoint_comes_by_its_id(full: Path, hub: Hub, house: Path) -> None:
    whole = load_model(full)
    torch.save({"w": torch.ones(1)}, full / "pytorch_model.bin")  # beside: not asked for
    shutil.copytree(full, hub.folder / "org--full")
    config = json.loads((full / "config.json").read_text()) | {"mm_vision_tower": "org/tower"}
    (hub.folder / "org--full" / "config.json").write_text(json.dumps(config))
    shutil.copytree(house / "clip-vit-tiny-patch14-56", hub.folder / "org--tower")
    assert is_released_checkpoint("org/full")
    assert hub.given == {"org/full": {"config.json"}}
    model = load_model("org/full", revision="v1")
    assert same(model, whole)
    assert "pytorch_model.bin" not in hub.given["org/full"]
    assert "model.safetensors" not in hub.given["org/tower"]  # its config only: weights are inside
    assert hub.revisions == {"org/full": "v1", "org/tower": None}


def test_a_base_checkpoint_fetches_its_parts(full: Path, base: Path, hub: Hub, house: Path) -> None:
    whole = load_model(full)
    config = json.loads((base / "config.json").read_text()) | {"mm_vision_tower": "org/tower"}
    (base / "config.json").write_text(json.dumps(config))
    shutil.move(base, hub.folder / "org--base")
    shutil.move(house / "tiny-mistral", hub.folder / "someone--tiny-mistral")
    shutil.move(house / "clip-vit-tiny-patch14-56", hub.folder / "org--tower")
    assert same(load_model("org/base"), whole)
    assert "mm_projector.bin" in hub.given["org/base"]


def test_an_adapters_bin_files_come_too(full: Path, hub: Hub) -> None:
    folder = hub.folder / "org--adapter"
    folder.mkdir()
    shutil.copyfile(full / "config.json", folder / "config.json")
    torch.save({}, folder / "adapter_model.bin")
    torch.save({"model.norm.weight": torch.full((64,), 2.0)}, folder / "non_lora_trainables.bin")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    model = load_model(
        "org/adapter", language_model=full, vision_tower=full.parent / "clip-vit-tiny-patch14-56"
    )
    assert torch.equal(model.model.language_model.norm.weight, torch.full((64,), 2.0))


def test_what_the_hub_does_not_have_is_said(hub: Hub) -> None:
    with pytest.raises(CheckpointError, match=r"org/nothing.*no repository.*local folder"):
        load_model("org/nothing")
    assert not is_released_checkpoint("org/nothing")
