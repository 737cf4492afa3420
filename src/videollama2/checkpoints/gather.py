"""All tensors of a checkpoint under our names, from every file that has a part in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from videollama2.checkpoints.beats_file import beats_config_of, find_beats_file, read_beats_cfg
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.layouts import (
    RELEASED_KEY,
    is_known_tower,
    is_released,
    upgrade_config,
)
from videollama2.checkpoints.locate import (
    NON_LORA,
    HubOptions,
    Layout,
    component_files,
    find_folder,
    layout_of,
    read_config,
)
from videollama2.checkpoints.lora import LowRank, adapter_file, native_name, open_adapter
from videollama2.checkpoints.names import canonical, to_native
from videollama2.checkpoints.shards import open_folder
from videollama2.checkpoints.token_ids import has_tokenizer, media_token_ids
from videollama2.checkpoints.towers import find_tower, read_json, vision_half
from videollama2.checkpoints.weights import StoredTensor, open_weights

Tensors = dict[str, StoredTensor]

UNUSED_FILE = "unused.safetensors"  # beside a native model: what only the way back needs

_VISION = "model.vision_tower."
_CONNECTOR = "model.connector."
_AUDIO = "model.audio_tower."
_AUDIO_PROJECTOR = "model.audio_projector."
# The other half of a whole CLIP or SigLIP checkpoint.
_NOT_VISION = ("text_model.", "text_projection.", "visual_projection.", "logit_scale", "logit_bias")


@dataclass(frozen=True)
class Elsewhere:
    """Parts that the caller takes from another place, by folder, file or hub id."""

    language_model: str | Path | None = None
    vision_tower: str | Path | None = None
    audio_tower: str | Path | None = None
    hub: HubOptions = field(default_factory=HubOptions)

    @property
    def parts_hub(self) -> HubOptions:
        """How the hub is asked for parts: a revision is the checkpoint's own."""
        return replace(self.hub, revision=None)


@dataclass(frozen=True)
class Gathered:
    """A checkpoint, found but not read: a nested `config`, the rest by our names."""

    folder: Path
    layout: Layout
    config: dict[str, Any]
    tensors: Tensors
    changes: Mapping[str, LowRank]

    @property
    def released(self) -> bool:
        """Whether its files use the released names."""
        return self.layout != "native"


def gather(name: str | Path, elsewhere: Elsewhere | None = None) -> Gathered:
    """Find every part of a checkpoint of any layout.

    Raises:
        CheckpointError: a part is missing or damaged, with what to pass instead.
    """
    places = elsewhere or Elsewhere()
    folder = find_folder(name, places.hub)
    layout = layout_of(folder)
    if layout == "language_model":
        raise CheckpointError(
            folder,
            "is a plain language model, not a VideoLLaMA 2 checkpoint",
            "Pass a checkpoint whose config.json says model_type videollama2...",
        )
    if layout == "native":
        return Gathered(folder, layout, read_config(folder), _native_tensors(folder), {})
    raw = _raw_config(folder, places)
    native = _nested(raw, folder, places)
    tensors: Tensors = {}
    changes: dict[str, LowRank] = {}
    _collect(folder, raw, places, tensors, changes, seen=())
    _add_towers(raw, native, folder, places, tensors)
    return Gathered(folder, layout, native, tensors, changes)


def checkpoint_config(folder: Path, places: Elsewhere) -> dict[str, Any]:
    """The nested config of a checkpoint's folder, whatever its layout.

    Raises:
        CheckpointError: as `gather`, of configs alone.
    """
    return _nested(_raw_config(folder, places), folder, places)


def _nested(raw: dict[str, Any], folder: Path, places: Elsewhere) -> dict[str, Any]:
    return _upgrade(raw, folder, places) if is_released(raw) else raw


def _raw_config(folder: Path, places: Elsewhere) -> dict[str, Any]:
    """A released checkpoint's config; an adapter without one has its base's."""
    if (folder / "config.json").is_file():
        config = read_config(folder)
        if is_released(config) or "text_config" in config:
            return config
    base = base_folder(folder, {}, places)
    return _raw_config(base, places)


def _upgrade(raw: Mapping[str, Any], folder: Path, places: Elsewhere) -> dict[str, Any]:
    """The nested config, with the encoders' configs from where the encoders come from."""
    vision: dict[str, Any] | None = None
    configs = replace(places, hub=replace(places.hub, weights=False))
    tower = raw.get("mm_vision_tower")
    if places.vision_tower is not None:
        tower_folder = _tower_folder(str(places.vision_tower), folder, configs)
        vision = vision_half(read_json(tower_folder / "config.json"))
    elif isinstance(tower, str) and find_tower(tower, folder) is None and not is_known_tower(tower):
        tower_folder = _tower_folder(tower, folder, configs)
        vision = vision_half(read_json(tower_folder / "config.json"))
    audio: dict[str, Any] | None = None
    if places.audio_tower is not None and "mm_audio_tower" in raw:
        path = _audio_file(str(places.audio_tower), folder)
        audio = {"model_type": "beats"}
        if path.suffix == ".pt":
            audio |= beats_config_of(read_beats_cfg(path), path)
    native = upgrade_config(raw, folder, vision_config=vision, audio_config=audio)
    speaking = tokenizer_folder(folder, places)
    if speaking is not None and speaking != folder:  # the language model's own tokenizer
        native |= media_token_ids(speaking, int(raw["vocab_size"]))
    return native


def tokenizer_folder(folder: Path, places: Elsewhere) -> Path | None:
    """Where the tokenizer lies: in the checkpoint, or with the language model it builds on."""
    if has_tokenizer(folder):
        return folder
    if places.language_model is not None or layout_of(folder) in ("base", "adapter"):
        config = read_config(folder) if (folder / "config.json").is_file() else {}
        base = base_folder(folder, config, places)
        return tokenizer_folder(base, Elsewhere(hub=places.parts_hub))
    return None


def base_folder(folder: Path, raw: Mapping[str, Any], places: Elsewhere) -> Path:
    """The language model that a connector-only or adapter checkpoint builds on."""
    said = open_adapter(folder).base if adapter_file(folder) is not None else None
    name = places.language_model or said or raw.get("_name_or_path")
    remedy = "Pass language_model=FOLDER_OR_HUB_ID, the model that it was trained on"
    if not name:
        raise CheckpointError(folder, "does not hold or name its language model", remedy)
    try:
        base = find_folder(name, places.parts_hub, near=folder)
    except CheckpointError as error:
        raise CheckpointError(
            folder, f"builds on the language model {name}, which {error.reason}", remedy
        ) from error
    if base.resolve() == folder.resolve():
        raise CheckpointError(folder, "names itself as its language model", remedy)
    return base


def _collect(
    folder: Path,
    raw: Mapping[str, Any],
    places: Elsewhere,
    tensors: Tensors,
    changes: dict[str, LowRank],
    seen: tuple[Path, ...],
) -> None:
    """Add a folder's tensors, over those of what it builds on."""
    if folder in seen:
        raise CheckpointError(folder, "builds on itself", "Pass language_model=FOLDER_OR_HUB_ID")
    layout = layout_of(folder)
    if layout == "native":
        tensors.update(_native_tensors(folder))
        return
    if layout in ("base", "adapter"):
        base = base_folder(folder, raw, places)
        above = Elsewhere(hub=places.parts_hub)
        base_config = read_config(base) if (base / "config.json").is_file() else {}
        _collect(base, base_config, above, tensors, changes, (*seen, folder))
        if layout == "base" and not raw.get("mm_audio_tower"):
            _drop(tensors, _AUDIO)
            _drop(tensors, _AUDIO_PROJECTOR)
    for path in component_files(folder):
        part = component_tensors(path)
        for prefix in (_CONNECTOR, _AUDIO, _AUDIO_PROJECTOR):
            if any(name.startswith(prefix) for name in part):
                _drop(tensors, prefix)  # the one below may be of another kind
        tensors.update(part)
    own = open_folder(folder)
    tensors.update(language_model_tensors(own) if layout == "language_model" else _released(own))
    if (folder / NON_LORA).is_file():
        tensors.update(
            {native_name(name): part for name, part in open_weights(folder / NON_LORA).items()}
        )
    if layout == "adapter":
        adapter = open_adapter(folder)
        tensors.update(adapter.whole)
        _stack_changes(changes, adapter.changes, folder)


def _stack_changes(changes: dict[str, LowRank], more: Mapping[str, LowRank], folder: Path) -> None:
    twice = sorted(changes.keys() & more.keys())
    if twice:
        raise CheckpointError(
            folder, f"is an adapter upon an adapter, both change {twice[0]}", "Merge the lower one"
        )
    changes.update(more)


def _native_tensors(folder: Path) -> Tensors:
    tensors = {canonical(name): part for name, part in open_folder(folder).items()}
    if not tensors:
        raise CheckpointError(folder, "holds no weights", "Expected model.safetensors")
    if not any(name.startswith(("model.", "lm_head.")) for name in tensors):  # saved as the trunk
        return {f"model.{name}": part for name, part in tensors.items()}
    return tensors


def _released(own: Tensors) -> Tensors:
    return {canonical(to_native(name)): part for name, part in own.items()}


def language_model_tensors(own: Tensors) -> Tensors:
    """A plain language model's tensors; one saved without its output layer lacks `model.`."""
    headless = not any(name.startswith(("model.", "lm_head.")) for name in own)
    named = {f"model.{name}": part for name, part in own.items()} if headless else own
    return _released(named)


def component_tensors(path: Path) -> Tensors:
    """A part's file: names with any prefix that a training stage left on them."""
    part = path.stem
    tensors: Tensors = {}
    for name, stored in open_weights(path).items():
        bare = native_name(name)
        if not bare.startswith("model."):
            within = name.startswith(("mm_projector.", "mm_projector_a.", "audio_tower."))
            bare = native_name(f"model.{name}" if within else f"model.{part}.{name}")
        tensors[bare] = stored
    return tensors


def _add_towers(
    raw: Mapping[str, Any],
    native: Mapping[str, Any],
    folder: Path,
    places: Elsewhere,
    tensors: Tensors,
) -> None:
    """Take encoders from elsewhere where the checkpoint has none, or the caller says so."""
    if places.vision_tower is not None or not _has(tensors, _VISION):
        named = raw.get("mm_vision_tower") or native.get(RELEASED_KEY, {}).get("mm_vision_tower")
        name = str(places.vision_tower or named or "")
        _drop(tensors, _VISION)
        tensors.update(tower_tensors(_tower_folder(name, folder, places)))
    if native.get("audio_config") and (places.audio_tower is not None or not _has(tensors, _AUDIO)):
        name = str(places.audio_tower or raw.get("mm_audio_tower", ""))
        _drop(tensors, _AUDIO)
        tensors.update(read_audio_tower(_audio_file(name, folder)))


def _has(tensors: Tensors, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in tensors)


def _drop(tensors: Tensors, prefix: str) -> None:
    for name in [name for name in tensors if name.startswith(prefix)]:
        del tensors[name]


def _tower_folder(name: str, folder: Path, places: Elsewhere) -> Path:
    if not name:
        raise CheckpointError(
            folder, "neither holds nor names a vision tower", "Pass vision_tower=FOLDER_OR_HUB_ID"
        )
    try:
        return find_folder(name, places.parts_hub, near=folder)
    except CheckpointError as error:
        raise CheckpointError(
            folder,
            f"does not hold its vision tower {name}, which {error.reason}",
            "Put the tower's folder beside the checkpoint, or pass vision_tower=FOLDER_OR_HUB_ID",
        ) from error


def tower_tensors(folder: Path) -> Tensors:
    """A vision encoder's tensors, out of its own folder or a whole CLIP's or SigLIP's.

    Raises:
        CheckpointError: it holds none.
    """
    if layout_of(folder) == "native":
        return {n: part for n, part in _native_tensors(folder).items() if n.startswith(_VISION)}
    tensors = {
        canonical(_VISION + name): part
        for name, part in open_folder(folder).items()
        if not name.startswith(_NOT_VISION)
    }
    if not tensors:
        raise CheckpointError(folder, "holds no vision tower's weights", "Download it again")
    return tensors


def _audio_file(name: str, folder: Path) -> Path:
    path = Path(name) if Path(name).is_file() else find_beats_file(name, folder)
    if path is None:
        raise CheckpointError(
            folder,
            f"does not hold its audio tower, and no file {name!r} lies beside it",
            "Put the BEATs file beside the checkpoint, or pass audio_tower=FILE",
        )
    return path


def read_audio_tower(path: Path) -> Tensors:
    """An audio tower's tensors: an original BEATs `.pt`, or a stage's `audio_tower.bin`."""
    tensors: Tensors = {}
    for name, stored in open_weights(path).items():
        bare = native_name(name)
        bare = bare.removeprefix("model.").removeprefix("language_model.")
        tensors[_AUDIO + bare.removeprefix("audio_tower.")] = stored
    return tensors
