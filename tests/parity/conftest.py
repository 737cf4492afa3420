"""Parity tests are parametrised over what the recording holds.

A test that takes `variant` (a checkpoint's folder with `config.json` and `expected.safetensors`)
runs once for each, one that takes `asked_variant` or `trained_variant` once for each that holds a
question or a training batch; one that takes `pixels_key`, `sound_key`, `clip_pixels_key`,
`soundtrack_key` or `sound_file_key` once for each such key of `preprocessing*.safetensors`, and one
that takes `index_list` or `slice_list` where `preprocessing*.json` has that list. Keys of clips are
collected only with `--media`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from videollama2.checkpoints.towers import tower_preprocessing


def recorded_root(config: pytest.Config) -> Path:
    plugin = next(p for p in config.pluginmanager.get_plugins() if hasattr(p, "OWN_RECORDING"))
    return plugin.recorded_root(config)


def recorded_variants(config: pytest.Config) -> list[Path]:
    """The folders of the checkpoints that the recording holds, by name."""
    return sorted(p.parent for p in recorded_root(config).glob("*/expected.safetensors"))


def holding(variants: list[Path], pattern: str) -> list[Path]:
    """Those of the variants with a recorded tensor whose whole name is `pattern`."""
    whole = re.compile(pattern)
    return [v for v in variants if any(map(whole.fullmatch, keys(v / "expected.safetensors")))]


def keys(path: Path) -> list[str]:
    """The names of a safetensors file's tensors."""
    with safe_open(path, "pt") as tensors:
        return list(tensors.keys())


class Preprocessing:
    """The tensors and lists of every `preprocessing*` file, whichever file holds them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file_of = {key: path for path in self.files("safetensors") for key in keys(path)}
        self.lists: dict[str, list[Any]] = {}
        for path in self.files("json"):
            for name, values in json.loads(path.read_text()).items():
                self.lists.setdefault(name, []).extend(values)

    def files(self, suffix: str) -> list[Path]:
        return sorted(self.root.glob(f"preprocessing*.{suffix}"))

    def __getitem__(self, key: str) -> torch.Tensor:
        with safe_open(self.file_of[key], "pt") as tensors:
            return tensors.get_tensor(key)

    def starting(self, prefix: str) -> list[str]:
        return sorted(k for k in self.file_of if k.startswith(prefix) and "|" not in k)

    def ending(self, suffix: str) -> list[str]:
        return sorted(k for k in self.file_of if "|" in k and k.split("|", 1)[1] == suffix)

    def clip_pixels(self) -> list[str]:
        return sorted(k for k in self.file_of if k.count("|") >= 3)

    def tower_settings(self, tower: str, side: int) -> dict[str, Any]:
        """The `preprocessor_config.json` of the folder whose name starts with `tower`.

        A recording may leave the towers out: then what such a tower asks for at `side` pixels.
        """
        found = sorted(self.root.glob(f"{tower}*/preprocessor_config.json"))
        if not found:
            return tower_preprocessing({"model_type": tower, "image_size": side})
        return json.loads(found[0].read_text())


_PREPROCESSING = pytest.StashKey[Preprocessing]()


def recorded_preprocessing(config: pytest.Config) -> Preprocessing:
    if _PREPROCESSING not in config.stash:
        config.stash[_PREPROCESSING] = Preprocessing(recorded_root(config))
    return config.stash[_PREPROCESSING]


def collected(config: pytest.Config) -> dict[str, list[Any]]:
    """Test argument -> what the recording holds of it."""
    numbers = recorded_preprocessing(config)
    variants = recorded_variants(config)
    clips = config.getoption("--media") is not None
    return {
        "variant": list(variants),
        "asked_variant": holding(variants, r"(video|image|audio|audio_video)\.input_ids"),
        "trained_variant": holding(variants, r"batch\.input_ids"),
        "pixels_key": numbers.starting("pixels."),
        "sound_key": numbers.starting("waveform."),
        "clip_pixels_key": numbers.clip_pixels() if clips else [],
        "soundtrack_key": numbers.ending("soundtrack_fbank") if clips else [],
        "sound_file_key": numbers.ending("fbank") if clips else [],
        "index_list": [name for name in ("frame_sampling",) if numbers.lists.get(name)],
        "slice_list": [name for name in ("soundtrack_clips_16khz",) if numbers.lists.get(name)],
    }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    found = collected(metafunc.config)
    if not any(found.values()):
        raise pytest.UsageError(
            f"--recorded {metafunc.config.getoption('--recorded')} holds no recording: neither "
            "<variant>/expected.safetensors nor preprocessing*.safetensors"
        )
    for name, values in found.items():
        if name in metafunc.fixturenames:
            names = [v.name if isinstance(v, Path) else v for v in values]
            metafunc.parametrize(name, values, ids=names)


@pytest.fixture(scope="session")
def preprocessing(pytestconfig: pytest.Config) -> Preprocessing:
    return recorded_preprocessing(pytestconfig)


@pytest.fixture(scope="session")
def media_folder(pytestconfig: pytest.Config) -> Path:
    folder = Path(pytestconfig.getoption("--media"))
    if not folder.is_dir():
        raise pytest.UsageError(f"--media {folder}: no such folder")
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test with nothing recorded for it is not collected, rather than shown as skipped."""
    empty = [item for item in items if item.name.endswith("[NOTSET]")]
    config.hook.pytest_deselected(items=empty)
    items[:] = [item for item in items if item not in empty]
