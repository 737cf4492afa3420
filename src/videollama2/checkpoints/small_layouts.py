"""The released layouts that hold some parts alone and name where the others lie.

Base: the connector (`mm_projector.bin`), and the audio files where the model hears. Audio stages:
`audio_tower.bin` and `mm_projector_a.bin`. LoRA: the adapter and `non_lora_trainables.bin`, in
which every connector and audio part is, trained or not (released `train.py`, `model/__init__.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.gather import Elsewhere, Gathered
from videollama2.checkpoints.layouts import downgrade_config
from videollama2.checkpoints.locate import NON_LORA, HubOptions
from videollama2.checkpoints.lora import ADAPTER_CONFIG, ADAPTER_FILES, open_adapter
from videollama2.checkpoints.names import to_released
from videollama2.checkpoints.parts import (
    ORIGINS,
    PREFIXES,
    find_language_model,
    find_projector,
    find_vision,
)
from videollama2.checkpoints.towers import read_json
from videollama2.checkpoints.unused import twin_of
from videollama2.checkpoints.writing import NamedTensor, write_json

SmallLayout = Literal["base", "lora", "audio"]

_CONNECTOR = ("mm_projector.bin", "connector")
_AUDIO = (("audio_tower.bin", "audio"), ("mm_projector_a.bin", "audio_projector"))
_SEEING = ("language_model", "vision", "connector")  # what audio stages leave as it was
_WRAPPED = "base_model.model."  # what the released training leaves before a name
# What older peft versions know of an adapter's settings too.
_SETTINGS = (
    "peft_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "bias",
    "fan_in_fan_out",
    "use_rslora",
    "alpha_pattern",
    "rank_pattern",
)


@dataclass(frozen=True)
class _Files:
    """What a small layout writes: a flat config, and files of named tensors."""

    config: dict[str, Any]
    tensors: Mapping[str, Mapping[str, NamedTensor]]
    adapter: Mapping[str, Any] | None = None


def write_small(
    folder: Path, gathered: Gathered, layout: SmallLayout, elsewhere: Elsewhere
) -> dict[str, Any]:
    """Write a small layout; gives its flat config.

    `elsewhere` names the places of what the layout leaves out, where the checkpoint does not.

    Raises:
        CheckpointError: the model lacks what the layout holds, or the layout would lose weights.
    """
    hears = bool(gathered.config.get("audio_config"))
    if layout == "lora":
        files = _lora(gathered, elsewhere, hears)
    elif layout == "base":
        flat = downgrade_config(gathered.config) | {"tune_mm_mlp_adapter": True}
        flat["_name_or_path"] = _place(gathered, ("language_model",), elsewhere.language_model)
        flat["mm_vision_tower"] = _place(gathered, ("vision",), elsewhere.vision_tower)
        wanted = (_CONNECTOR, *(_AUDIO if hears else ()))
        files = _Files(flat, {file: _of_part(gathered, part) for file, part in wanted})
    else:
        if not hears:
            raise CheckpointError(gathered.folder, "has no audio branch", "Say --layout base")
        flat = downgrade_config(gathered.config)
        flat |= {"tune_mm_mlp_adapter": False, "tune_mm_mlp_adapter_a": True}
        flat["_name_or_path"] = _place(gathered, _SEEING, elsewhere.language_model)
        files = _Files(flat, {file: _of_part(gathered, part) for file, part in _AUDIO})
    write_json(folder / "config.json", files.config)
    if files.adapter is not None:
        write_json(folder / ADAPTER_CONFIG, files.adapter)
    for file, tensors in files.tensors.items():
        torch.save({name: one.read() for name, one in tensors.items()}, folder / file)
    return files.config


def _of_part(gathered: Gathered, part: str, before: str = "") -> dict[str, NamedTensor]:
    """A part's parameters under their released names; copies of shared ones are left out."""
    return {
        before + to_released(name): NamedTensor(name, tensor, gathered.changes.get(name))
        for name, tensor in gathered.tensors.items()
        if name.startswith(PREFIXES[part]) and twin_of(name) is None
    }


def _lora(gathered: Gathered, elsewhere: Elsewhere, hears: bool) -> _Files:
    if gathered.layout != "adapter":
        beside = gathered.folder.parent / "adapter"
        remedy = f"Convert {beside}" if beside.is_dir() else "Pass a run's adapter folder"
        raise CheckpointError(gathered.folder, "holds no adapter", remedy)
    adapter = open_adapter(gathered.folder)
    kept = read_json(gathered.folder / ADAPTER_CONFIG)
    if kept.get("use_dora"):
        raise CheckpointError(
            gathered.folder,
            "is a DoRA adapter, and the released layout has LoRA's alone",
            "Convert with --layout full: it is merged then",
        )
    base = str(elsewhere.language_model or adapter.base)
    if elsewhere.language_model is not None:
        _check_same(replace(gathered, changes={}), "language_model", base)
    flat = downgrade_config(gathered.config) | {"_name_or_path": base}
    origins: Mapping[str, Any] = gathered.config.get(ORIGINS) or {}
    vision = elsewhere.vision_tower or origins.get("vision")
    if vision is not None:
        flat["mm_vision_tower"] = str(vision)
    low: dict[str, NamedTensor] = {}
    modules: list[str] = []
    for weight, change in adapter.changes.items():
        module = to_released(weight).removesuffix(".weight")
        modules.append(module)
        for side, tensor in (("A", change.down), ("B", change.up)):
            low[f"{_WRAPPED}{module}.lora_{side}.weight"] = NamedTensor(weight, tensor)
    beside_it: dict[str, NamedTensor] = {
        _WRAPPED + to_released(name): NamedTensor(name, tensor)
        for name, tensor in adapter.whole.items()
    }
    for part in ("connector", *(("audio", "audio_projector") if hears else ())):
        unchanged = _of_part(gathered, part, _WRAPPED)
        beside_it |= {n: NamedTensor(n, one.stored) for n, one in unchanged.items()}
    settings = {key: kept[key] for key in _SETTINGS if key in kept}
    config = {
        **settings,
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "base_model_name_or_path": base,
        "target_modules": modules,
    }
    return _Files(flat, {ADAPTER_FILES[1]: low, NON_LORA: beside_it}, config)


def _place(gathered: Gathered, parts: tuple[str, ...], given: str | Path | None) -> str:
    """Where parts lie that the layout leaves out: these very weights, or an error."""
    origins: Mapping[str, Any] = gathered.config.get(ORIGINS) or {}
    known = {origins.get(part) for part in parts}
    name = str(given or (next(iter(known)) if len(known) == 1 else None) or "")
    what = " and ".join(part.replace("_", " ") for part in parts)
    option = "--vision-tower" if parts == ("vision",) else "--language-model"
    if not name:
        raise CheckpointError(
            gathered.folder,
            f"this layout leaves its {what} out, and it does not say where those weights lie "
            "(they were trained, or came with the rest)",
            f"Say {option} PLACE, or write --layout full",
        )
    if known == {name}:
        return name
    for part in parts:
        _check_same(gathered, part, name)
    return name


def _check_same(gathered: Gathered, part: str, name: str) -> None:
    """A part's weights must be those that lie in a place on this machine.

    Raises:
        CheckpointError: they are others, or the place is not here.
    """
    hub = HubOptions(local_files_only=True)
    if part == "connector":
        there = find_projector(part, name, hub).tensors
    else:
        finder = find_vision if part == "vision" else find_language_model
        there = finder(name, hub, drawn=False).tensors
    differing = [
        stored
        for stored, tensor in gathered.tensors.items()
        if stored.startswith(PREFIXES[part])
        and not (
            stored in there
            and stored not in gathered.changes
            and torch.equal(tensor.read(), there[stored].read().to(tensor.dtype))
        )
    ]
    if differing:
        raise CheckpointError(
            gathered.folder,
            f"its {part.replace('_', ' ')} is another than {name}'s ({len(differing)} weights "
            f"differ, {differing[0]} among them), and this layout would lose it",
            "Write --layout full",
        )
