"""One part of a model, wherever it comes from: a plain model, a file, or a whole checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers.models.auto import modeling_auto

from videollama2.checkpoints.beats_file import beats_config_of, read_beats_cfg
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.gather import (
    Elsewhere,
    Gathered,
    Tensors,
    component_tensors,
    gather,
    language_model_tensors,
    read_audio_tower,
    tower_tensors,
)
from videollama2.checkpoints.language_models import LANGUAGE_MODELS
from videollama2.checkpoints.layouts import NATIVE_KEY
from videollama2.checkpoints.locate import HubOptions, component_files, find_folder, layout_of
from videollama2.checkpoints.lora import LowRank
from videollama2.checkpoints.shards import open_folder
from videollama2.checkpoints.towers import KNOWN_TOWERS, last_name, read_json, vision_half

ORIGINS = "parts"  # in a native config: where the weights of each part lie that came from elsewhere

# What each part's parameters begin with.
PREFIXES = {
    "language_model": ("model.language_model.", "lm_head."),
    "vision": ("model.vision_tower.",),
    "connector": ("model.connector.",),
    "audio": ("model.audio_tower.",),
    "audio_projector": ("model.audio_projector.",),
}
_BEATS = "beats"  # the released encoder's shape, where weights are drawn


@dataclass(frozen=True)
class FoundPart:
    """A part, found but not read, its tensors under the names that they have in a whole model.

    `origin` says where it lies (None: drawn), `plain` the folder of a transformers model that is
    nothing but this part, `checkpoint` the VideoLLaMA 2 checkpoint that it was taken out of.
    """

    config: dict[str, Any]
    origin: str | None = None
    tensors: Tensors = field(default_factory=dict[str, Any])
    changes: Mapping[str, LowRank] = field(default_factory=dict[str, LowRank])
    plain: Path | None = None
    checkpoint: Gathered | None = None

    @property
    def folder(self) -> Path | None:
        """Where its small files lie."""
        return self.plain if self.checkpoint is None else self.checkpoint.folder


def find_language_model(name: str, hub: HubOptions, *, drawn: bool) -> FoundPart:
    """A causal language model: its folder or hub id, or a checkpoint that has one.

    `drawn`: its shape alone, which is known of a few without their files.

    Raises:
        CheckpointError: it is not there, or is another kind of model.
    """
    known = LANGUAGE_MODELS.get(last_name(name))
    if drawn and known is not None and not Path(name).is_dir():
        return FoundPart(dict(known))
    folder, checkpoint = _open(name, hub, drawn)
    if checkpoint is not None:
        return taken("language_model", checkpoint, name)
    config = read_json(folder / "config.json")
    check_language_model(config, folder)
    if drawn:
        return FoundPart(config, plain=folder)
    tensors = language_model_tensors(open_folder(folder))
    if not tensors:
        raise CheckpointError(folder, "holds no weights", "Download it again")
    return FoundPart(config, _origin(name, folder), tensors, plain=folder)


def find_vision(name: str, hub: HubOptions, *, drawn: bool) -> FoundPart:
    """A vision encoder: its folder or hub id (a whole CLIP or SigLIP will do), or a checkpoint.

    Raises:
        CheckpointError: it is not there, or says no size of patches.
    """
    known = KNOWN_TOWERS.get(last_name(name))
    if drawn and known is not None and not Path(name).is_dir():
        return FoundPart(dict(known))
    folder, checkpoint = _open(name, hub, drawn)
    if checkpoint is not None:
        return taken("vision", checkpoint, name)
    config = vision_half(read_json(folder / "config.json"))
    if drawn:
        return FoundPart(config, plain=folder)
    return FoundPart(config, _origin(name, folder), tower_tensors(folder), plain=folder)


def find_audio(name: str, hub: HubOptions, *, drawn: bool) -> FoundPart:
    """A BEATs encoder: an original `.pt`, a stage's `audio_tower.bin`, or a checkpoint's.

    Raises:
        CheckpointError: it is not there, damaged, built otherwise, or has no encoder.
    """
    path = Path(name)
    if path.is_file():
        config = {"model_type": "beats"}
        if path.suffix == ".pt":
            config |= beats_config_of(read_beats_cfg(path), path)
        elif path.with_suffix(".json").is_file():
            config |= read_json(path.with_suffix(".json"))
        if drawn:
            return FoundPart(config)
        return FoundPart(config, str(path.resolve()), read_audio_tower(path))
    if drawn and not path.is_dir() and last_name(name).lower().startswith(_BEATS):
        return FoundPart({"model_type": "beats"})
    if path.suffix in (".pt", ".bin"):
        raise CheckpointError(name, "is not there", "Pass a BEATs file, or a checkpoint that hears")
    _, checkpoint = _open(name, hub, drawn)
    if checkpoint is None:
        raise CheckpointError(
            name, "is no checkpoint with an audio encoder", "Pass a BEATs .pt, or one that hears"
        )
    return taken("audio", checkpoint, name)


def find_projector(part: str, name: str, hub: HubOptions) -> FoundPart:
    """A connector or audio projector, trained: a Base folder or stage's folder, or a checkpoint's.

    `part` is "connector" or "audio_projector". Neither the language model nor the encoders that
    a Base folder builds on are needed.

    Raises:
        CheckpointError: it is not there, or has none.
    """
    folder = find_folder(name, hub)
    if layout_of(folder) != "base":
        _, checkpoint = _open(name, hub, False)
        if checkpoint is None:
            raise CheckpointError(folder, f"has no {part}", "Pass a Base folder, or a type's name")
        return taken(part, checkpoint, name)
    flat = read_json(folder / "config.json")
    tensors: Tensors = {}
    for path in component_files(folder):
        tensors |= component_tensors(path)
    mine = {n: t for n, t in tensors.items() if n.startswith(PREFIXES[part])}
    if not mine:
        raise CheckpointError(folder, f"has no {part}", "Download its .bin files again")
    native = flat.get(NATIVE_KEY)
    if part == "connector" and isinstance(native, Mapping):
        config: dict[str, Any] = dict(native["connector_config"])  # pyright: ignore[reportUnknownArgumentType]
    elif part == "connector":
        widths = {"vision_hidden_size": "mm_hidden_size", "hidden_size": "hidden_size"}
        config = {ours: int(flat[theirs]) for ours, theirs in widths.items() if theirs in flat}
        config |= {"connector_type": str(flat.get("mm_projector_type", "linear"))}
    else:
        config = {"audio_projector_type": str(flat.get("mm_projector_a_type", "mlp2x_gelu"))}
    return FoundPart(config, _origin(name, folder), mine)


def taken(part: str, checkpoint: Gathered, name: str) -> FoundPart:
    """A part out of a whole checkpoint.

    Raises:
        CheckpointError: the checkpoint lacks it.
    """
    native = checkpoint.config
    configs: dict[str, Any] = {
        "language_model": native["text_config"],
        "vision": native["vision_config"],
        "connector": native["connector_config"],
        "audio": native.get("audio_config"),
        "audio_projector": {"audio_projector_type": native.get("audio_projector_type")},
    }
    of_part = {n: t for n, t in checkpoint.tensors.items() if n.startswith(PREFIXES[part])}
    if not of_part or not configs[part]:
        raise CheckpointError(checkpoint.folder, f"has no {part}", "Take it from elsewhere")
    changes = {n: c for n, c in checkpoint.changes.items() if n in of_part}
    origins: Mapping[str, Any] = native.get(ORIGINS) or {}
    origin = str(origins.get(part) or _origin(name, checkpoint.folder))
    return FoundPart(dict(configs[part]), origin, of_part, changes, checkpoint=checkpoint)


def check_language_model(config: Mapping[str, Any], folder: Path) -> None:
    """Whether a config is a causal language model's, as it can be tuned.

    Raises:
        CheckpointError: it is not.
    """
    kind = str(config.get("model_type", ""))
    reason = None
    if kind not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        reason = f"is of type {kind or 'unknown'}, no causal language model of transformers"
    elif kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES or config.get("vision_config"):
        reason = f"is of type {kind}, which is more or less than a causal language model"
    elif config.get("quantization_config"):
        reason = "is quantised"
    if reason is not None:
        raise CheckpointError(
            folder, reason, "Pass a text-only causal language model, in its own precision"
        )


def _open(name: str, hub: HubOptions, drawn: bool) -> tuple[Path, Gathered | None]:
    """A part's folder, and the checkpoint in it where it is a VideoLLaMA 2 one."""
    small = HubOptions(hub.revision, hub.cache_dir, hub.token, hub.local_files_only, weights=False)
    folder = find_folder(name, small if drawn else hub)
    if layout_of(folder) == "language_model":  # or any other plain model
        return folder, None
    return folder, gather(name, Elsewhere(hub=hub))


def _origin(name: str, folder: Path) -> str:
    """A part's place as a config remembers it: the hub id, or the whole path."""
    return str(folder.resolve()) if Path(name).is_dir() else name
