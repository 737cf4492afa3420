"""A run's checkpoints on disk: whole or not there, hashed, the last few kept, damage found."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from videollama2.training.errors import TrainingError
from videollama2.training.parallel import part_like, whole

MANIFEST = "manifest.json"
TRAINED = "trained.safetensors"
_safetensors: Any = safetensors.torch  # it is untyped
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Found:
    """The newest whole checkpoint, if any, and what was found damaged on the way to it."""

    folder: Path | None
    damaged: tuple[str, ...]

    @property
    def step(self) -> int:
        """Steps behind it."""
        return 0 if self.folder is None else step_of(self.folder)


def step_of(folder: Path) -> int:
    """The step in a checkpoint folder's name."""
    named = _NAME.fullmatch(folder.name)
    return int(named.group(1)) if named else -1


def checkpoints(run: Path) -> list[Path]:
    """A run's checkpoint folders, oldest first."""
    return sorted((p for p in run.glob("checkpoint-*") if step_of(p) >= 0), key=step_of)


def processes_of(folder: Path) -> int:
    """In how many processes the run was that wrote a checkpoint: each has its random state."""
    return len(list(folder.glob("rng_state*.pth")))


def staging(run: Path, step: int) -> Path:
    """A fresh folder to write checkpoint `step` into, out of sight until `publish`."""
    folder = run / f".checkpoint-{step}.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def publish(staged: Path, keep: int) -> Path:
    """Hash a staged checkpoint's files, give it its name at once, and drop all but `keep`."""
    files = sorted(path for path in staged.rglob("*") if path.is_file())
    hashes = {str(path.relative_to(staged)): _sha256(path) for path in files}
    manifest = staged / MANIFEST
    manifest.write_text(json.dumps({"sha256": hashes}, indent=1) + "\n", encoding="utf-8")
    for path in (*files, manifest, staged):
        _to_disk(path)
    folder = staged.with_name(staged.name.removeprefix(".").removesuffix(".partial"))
    if folder.exists():
        shutil.rmtree(folder)
    staged.rename(folder)
    _to_disk(folder.parent)
    for old in checkpoints(folder.parent)[:-keep]:
        shutil.rmtree(old)
    return folder


def find(run: Path) -> Found:
    """The newest whole checkpoint of a run. Damaged ones are moved aside, half-written ones go."""
    for left in run.glob(".checkpoint-*.partial"):
        shutil.rmtree(left, ignore_errors=True)
    damaged: list[str] = []
    for folder in reversed(checkpoints(run)):
        wrong = damage(folder)
        if wrong is None:
            return Found(folder, tuple(damaged))
        aside = folder.with_name(f"damaged-{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        damaged.append(f"{folder} is damaged ({wrong}); it is now {aside.name}")
    return Found(None, tuple(damaged))


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint; None if it is whole."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        hashes = cast("dict[str, str]", json.loads(text)["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{MANIFEST} cannot be read"
    for name, expected in hashes.items():
        try:
            actual = _sha256(folder / name)
        except OSError:
            return f"{name} is missing"
        if actual != expected:
            return f"{name} has changed"
    return None


def save_trained(model: nn.Module, folder: Path, *, write: bool = True) -> None:
    """The parameters that train, bit for bit. What is frozen comes from the start again.

    All processes call this together; those that do not `write` only give their parts.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in trained(model).items():
        value = whole(parameter).detach()
        if write:
            tensors[name] = value.cpu().contiguous()
    if write:
        _safetensors.save_file(tensors, folder / TRAINED, metadata={"format": "pt"})


def load_trained(model: nn.Module, folder: Path) -> None:
    """Put saved parameters back.

    Raises:
        TrainingError: they are not those that train now.
    """
    try:
        stored: dict[str, Tensor] = _safetensors.load_file(folder / TRAINED)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{folder / TRAINED}: cannot be read ({error})") from error
    wanted = trained(model)
    differing = sorted(
        name for name in {*stored, *wanted} if _shape(stored, name) != _shape(wanted, name)
    )
    if differing:
        raise TrainingError(
            f"{folder} holds other parameters than this run trains: {differing[0]}"
            + (f" and {len(differing) - 1} more" if len(differing) > 1 else "")
        )
    for name, parameter in wanted.items():
        with torch.no_grad():
            parameter.copy_(part_like(stored[name], parameter))


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that train, by name; shared ones once."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _shape(tensors: Mapping[str, Tensor], name: str) -> Any:
    return tuple(tensors[name].shape) if name in tensors else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
