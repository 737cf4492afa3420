"""A fresh model put together from parts, written as a checkpoint of ours, ready to train.

Tensors go from file to file; only what is new (a connector, a projector) is ever in memory.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from videollama2.checkpoints.drawing import draw
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.export import named_tensors
from videollama2.checkpoints.fit import Fit, fit
from videollama2.checkpoints.gather import Elsewhere, Gathered, Tensors, gather, tokenizer_folder
from videollama2.checkpoints.load import empty_model, slot_shapes
from videollama2.checkpoints.locate import HubOptions, find_folder
from videollama2.checkpoints.parts import (
    ORIGINS,
    PREFIXES,
    FoundPart,
    find_audio,
    find_language_model,
    find_projector,
    find_vision,
    taken,
)
from videollama2.checkpoints.processor import write_processor
from videollama2.checkpoints.through_transformers import read_language_model, read_vision
from videollama2.checkpoints.token_ids import media_token_ids
from videollama2.checkpoints.unused import known_unused
from videollama2.checkpoints.weights import StoredTensor
from videollama2.checkpoints.writing import (
    check_new_folder,
    parse_size,
    write_json,
    write_sharded,
    written_whole,
)
from videollama2.model.config import VideoLlama2Config
from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.tokens import connector_shape, num_video_tokens

DEFAULT_CONNECTOR, DEFAULT_PROJECTOR = "stc_connector_v35", "mlp2x_gelu"
NUM_FRAMES = 16

Found = dict[str, FoundPart]


@dataclass(frozen=True)
class Parts:
    """Where each part comes from: a folder or hub id, a plain model's or a VideoLLaMA 2 one's.

    `model` gives every part that is not named. `audio` may be a BEATs file. `connector` and
    `audio_projector` are a type, which begins afresh, or a place whose trained one is taken; left
    out, they begin afresh wherever a part that they lie between is another than `model`'s.
    `tokenizer` None takes the language model's. `hears` False leaves the audio branch out.
    """

    model: str | None = None
    language_model: str | None = None
    vision: str | None = None
    connector: str | None = None
    audio: str | None = None
    audio_projector: str | None = None
    tokenizer: str | None = None
    hears: bool = True


@dataclass(frozen=True)
class Assembly:
    """How parts are put together; None takes `Parts.model`'s value, or else the default.

    `downsample` is (time, height, width), `depth` the connector's RegStage blocks, `random` draws
    every weight, so that parts give their shapes alone. `dtype` None is the language model's.
    """

    num_frames: int | None = None
    media_mode: str | None = None
    vision_feature_layer: int | None = None
    vision_feature_select: str | None = None
    downsample: tuple[int, int, int] | None = None
    depth: int | None = None
    dtype: torch.dtype | None = None
    seed: int = 0
    random: bool = False


@dataclass(frozen=True)
class Composition:
    """What was written: for each part its number of parameters and where they are from."""

    folder: Path
    parameters: Mapping[str, int]
    origins: Mapping[str, str | None]


def compose(
    out: str | os.PathLike[str],
    parts: Parts,
    assembly: Assembly | None = None,
    *,
    hub: HubOptions | None = None,
    max_shard_size: int | str = "5GB",
) -> Composition:
    """Put a model together and write it, whole or not at all, as `from_pretrained` takes it.

    Raises:
        CheckpointError: `out` is not empty; a part is missing, damaged or of the wrong kind; or
            parts do not fit each other.
        ValueError: a setting has no such value.
    """
    target, shard_bytes = Path(out), parse_size(max_shard_size)
    check_new_folder(target)
    places, how = hub or HubOptions(), assembly or Assembly()
    base = None if parts.model is None else gather(parts.model, Elsewhere(hub=places))
    found = _find(parts, how, base, places)
    speaking = _tokenizer_folder(parts, found, places)
    config = _config(found, how, base, speaking)
    dtype = how.dtype or _dtype(found["language_model"])
    config.dtype = dtype
    model = empty_model(config)
    tensors = {
        name: tensor
        for part, one in found.items()
        for name, tensor in _tensors(part, one, model, dtype, how).items()
    }
    changes = {name: change for one in found.values() for name, change in one.changes.items()}
    whole = Gathered(target, "native", _as_dict(config), tensors, changes)
    with written_whole(target) as folder:
        write_json(folder / "config.json", whole.config)
        write_sharded(
            folder, named_tensors(tensors, whole, released=False, cast=dtype), shard_bytes
        )
        _write_generation_config(found["language_model"], folder)
        write_processor(folder, config, speaking, found["vision"])
    counts = {
        part: sum(shape_size(tensors[n].shape) for n in tensors if n.startswith(PREFIXES[part]))
        for part in found
    }
    return Composition(target, counts, {part: one.origin for part, one in found.items()})


def shape_size(shape: tuple[int, ...]) -> int:
    """Elements of a tensor of this shape."""
    return torch.Size(shape).numel()


# --- which parts ---


def _find(parts: Parts, how: Assembly, base: Gathered | None, hub: HubOptions) -> Found:
    """Every part of the model to be, in the order in which data flows."""
    others = replace(hub, revision=None)

    def find(part: str, name: str | None, finder: Any) -> FoundPart:
        if name is not None:
            return finder(name, others, drawn=how.random)
        if base is None:
            option = f"--{part.replace('_', '-')}"
            raise CheckpointError("compose", f"there is no {part}", f"Say {option} or --model")
        return taken(part, base, str(parts.model))

    found = {
        "vision": find("vision", parts.vision, find_vision),
        "language_model": find("language_model", parts.language_model, find_language_model),
    }
    changed = parts.language_model is not None
    found["connector"] = _projector(
        "connector", parts, base, changed or parts.vision is not None, hub
    )
    had = base is not None and bool(base.config.get("audio_config"))
    if parts.hears and (parts.audio is not None or had):
        found["audio"] = find("audio", parts.audio, find_audio)
        found["audio_projector"] = _projector(
            "audio_projector", parts, base if had else None, changed or parts.audio is not None, hub
        )
    elif parts.audio_projector is not None or parts.audio is not None:
        raise CheckpointError(
            "compose", "an audio projector needs an audio encoder", "Say --audio BEATS_FILE"
        )
    if how.random:
        found = {
            part: FoundPart(one.config, plain=one.plain, checkpoint=one.checkpoint)
            for part, one in found.items()
        }
    return found


def _projector(
    part: str, parts: Parts, base: Gathered | None, changed: bool, hub: HubOptions
) -> FoundPart:
    """A connector or audio projector: fresh, of a type, or a trained one."""
    said: str | None = getattr(parts, part)
    kind = "connector_type" if part == "connector" else "audio_projector_type"
    if said is not None and _is_type(said, part):
        return FoundPart({kind: said})
    if said is not None:
        return find_projector(part, said, replace(hub, revision=None))
    if base is None:
        return FoundPart({kind: DEFAULT_CONNECTOR if part == "connector" else DEFAULT_PROJECTOR})
    own = taken(part, base, str(parts.model))
    if not changed:
        return own
    kept = {key: own.config.get(key) for key in (kind, "downsample", "depth", "readout_depth")}
    return FoundPart({key: value for key, value in kept.items() if value is not None})


def _is_type(name: str, part: str) -> bool:
    if "/" in name or Path(name).is_dir():
        return False
    connector_shape(name)  # raises with the types that there are
    if part == "audio_projector" and not name.startswith(("mlp", "linear")):
        raise ValueError(f"no audio projector is called {name!r}: choose mlp{{n}}x_gelu or linear")
    return True


def _tokenizer_folder(parts: Parts, found: Found, hub: HubOptions) -> Path:
    small = replace(hub, revision=None, weights=False)
    folder = (
        found["language_model"].folder
        if parts.tokenizer is None
        else find_folder(parts.tokenizer, small)
    )
    speaking = None if folder is None else tokenizer_folder(folder, Elsewhere(hub=small))
    if speaking is None:
        where = folder or parts.language_model or "the language model"
        raise CheckpointError(where, "has no tokenizer", "Say --tokenizer FOLDER_OR_HUB_ID")
    return speaking


# --- how they are put together ---


def _config(
    found: Found, how: Assembly, base: Gathered | None, speaking: Path
) -> VideoLlama2Config:
    text, vision = found["language_model"].config, found["vision"].config
    mode = how.media_mode or (base.config.get("media_mode") if base else None) or "native"
    audio = found.get("audio")
    fields: dict[str, Any] = dict(found["audio_projector"].config) if audio else {}
    fields |= media_token_ids(speaking, int(text.get("vocab_size") or 0))
    connector = dict(found["connector"].config)
    connector |= {
        key: value
        for key, value in (("downsample", how.downsample), ("depth", how.depth))
        if value is not None
    }
    seen = found["vision"].checkpoint or base
    inherited: dict[str, Any] = {} if seen is None else seen.config
    frames = how.num_frames or (base.config.get("num_frames") if base else None) or NUM_FRAMES
    layer = how.vision_feature_layer
    try:
        config = VideoLlama2Config(
            vision_config=_bare(vision),
            text_config=_bare(text),
            audio_config=_bare(audio.config) | {"mask_padding": mode == "native"}
            if audio
            else None,
            connector_config={k: v for k, v in connector.items() if k not in _WIDTHS},
            vision_feature_layer=inherited.get("vision_feature_layer", -2)
            if layer is None
            else layer,
            vision_feature_select=how.vision_feature_select
            or inherited.get("vision_feature_select", "patch"),
            num_frames=frames,
            media_mode=mode,
            **fields,
        )
        num_video_tokens(config, frames)  # raises where the connector cannot take these frames
    except (AttributeError, KeyError, TypeError) as error:
        raise CheckpointError(
            "compose",
            f"a part's config.json says too little of it ({error})",
            "Check that each part is of its kind",
        ) from error
    origins = {part: one.origin for part, one in found.items() if one.origin is not None}
    setattr(config, ORIGINS, origins)
    config.architectures = [VideoLlama2ForConditionalGeneration.__name__]
    _check_widths(connector, config, found)
    return config


_WIDTHS = ("vision_hidden_size", "hidden_size", "model_type")
# What a config says of the file that it was, not of the model.
_OF_FILES = ("_name_or_path", "architectures", "torch_dtype", "dtype", "transformers_version")


def _bare(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _OF_FILES}


def _check_widths(connector: Mapping[str, Any], config: VideoLlama2Config, found: Found) -> None:
    """A trained connector must lie between encoders and language models of its own widths."""
    if found["connector"].origin is None:
        return
    for key, wanted in (
        ("vision_hidden_size", config.vision_config.hidden_size),
        ("hidden_size", config.text_config.hidden_size),
    ):
        if connector.get(key, wanted) != wanted:
            raise CheckpointError(
                found["connector"].origin,
                f"its connector has {key} {connector[key]}, and the part beside it {wanted}",
                f"Take the parts that it was trained with, or say --connector {DEFAULT_CONNECTOR}",
            )


def _dtype(language_model: FoundPart) -> torch.dtype:
    """The dtype that the language model's weights have, else the one that its config says."""
    for tensor in language_model.tensors.values():
        if tensor.dtype.is_floating_point:
            return tensor.dtype
    said = language_model.config.get("dtype") or language_model.config.get("torch_dtype")
    named = getattr(torch, str(said).removeprefix("torch."), None)
    return named if isinstance(named, torch.dtype) else torch.float32


def _as_dict(config: VideoLlama2Config) -> dict[str, Any]:
    plain: Any = config
    fields: dict[str, Any] = plain.to_dict()
    fields.pop("_name_or_path", None)
    return fields


# --- their weights ---


def _tensors(
    part: str,
    one: FoundPart,
    model: VideoLlama2ForConditionalGeneration,
    dtype: torch.dtype,
    how: Assembly,
) -> Tensors:
    """A part's tensors, each of them a parameter of the model's and none of these left out."""
    if one.origin is None:
        drawn = draw(model, PREFIXES[part], dtype, how.seed)
        return {
            name: StoredTensor(Path("drawn"), name, value.dtype, tuple(value.shape), 0, value)
            for name, value in drawn.items()
        }
    fitted = _fit(part, one.tensors, model)
    if _whole(fitted):
        return {name: t for name, t in one.tensors.items() if name not in fitted.unused}
    readers = {"language_model": read_language_model, "vision": read_vision}
    if one.plain is not None and part in readers and not fitted.misshapen:
        # Names or stacking of an older writer, which transformers knows: it reads the part whole.
        tensors = readers[part](one.plain, dtype)
        again = _fit(part, tensors, model)
        if _whole(again):
            return {name: t for name, t in tensors.items() if name not in again.unused}
    fitted.check(one.origin)
    return one.tensors


def _fit(part: str, tensors: Tensors, model: VideoLlama2ForConditionalGeneration) -> Fit:
    shapes = {n: s for n, s in slot_shapes(model).items() if n.startswith(PREFIXES[part])}
    return fit(shapes, tensors, known_unused(model.config))


def _whole(fitted: Fit) -> bool:
    return not (fitted.missing or fitted.unexpected or fitted.misshapen)


def _write_generation_config(language_model: FoundPart, folder: Path) -> None:
    """How the language model ends its answers goes along."""
    source = language_model.folder
    if source is not None and (source / "generation_config.json").is_file():
        content = (source / "generation_config.json").read_bytes()
        (folder / "generation_config.json").write_bytes(content)
