"""A checkpoint of any layout -> a model in memory, each tensor read once, into its place.

The model is built without memory for its parameters; each is then allocated in its final dtype
on its final device, and the file's bytes are read into it. At no time are there two copies.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import GenerationConfig
from transformers.initialization import no_init_weights

from videollama2.checkpoints.devices import DeviceMap, Placement, place
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.fit import Fit, Piece, fit
from videollama2.checkpoints.four_bit import FourBit
from videollama2.checkpoints.gather import Elsewhere, Gathered, gather
from videollama2.checkpoints.locate import HubOptions, Layout, find_architecture, find_layout
from videollama2.checkpoints.lora import LowRank
from videollama2.checkpoints.modules import stored_names, tensors_held
from videollama2.checkpoints.names import canonical, to_released
from videollama2.checkpoints.processor import load_processor
from videollama2.checkpoints.quantize import Narrowing, narrowing, pack_int4
from videollama2.checkpoints.token_ids import MEDIA_TOKENS
from videollama2.checkpoints.unused import check_twins, known_unused
from videollama2.model.config import VideoLlama2Config
from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.narrow import NarrowLinear
from videollama2.model.trunk import VideoLlama2Model

__all__ = [
    "holds_trunk",
    "holds_whole",
    "is_released_checkpoint",
    "load_model",
    "load_processor",
    "load_released",
]

Name = str | os.PathLike[str]


def load_model(
    name_or_path: Name,
    *,
    dtype: torch.dtype | str | None = None,
    device: str | torch.device | None = None,
    device_map: DeviceMap = None,
    language_model: Name | None = None,
    vision_tower: Name | None = None,
    audio_tower: Name | None = None,
    config: VideoLlama2Config | None = None,
    attn_implementation: str | None = None,
    four_bit: FourBit | None = None,
    quantize: str | None = None,
    revision: str | None = None,
    cache_dir: Name | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> VideoLlama2ForConditionalGeneration:
    """Load a checkpoint of any layout, ours or released, by folder or hub id, ready to answer.

    `dtype` None or "auto" takes the checkpoint's own. `language_model`, `vision_tower` and
    `audio_tower` say where parts come from that the checkpoint does not hold, or that should
    replace its own. `four_bit` keeps the language model's linear layers in 4 bits; `quantize` is
    int8, fp8, int4 (GPU) or nf4, output layer included except for nf4. Peak memory is the model's
    plus one tensor's (int4: the wide model's).

    Raises:
        CheckpointError: a file or part is missing or damaged, or parameters do not fit.
    """
    hub = HubOptions(
        revision, None if cache_dir is None else Path(cache_dir), token, local_files_only
    )
    elsewhere = Elsewhere(
        *(
            None if part is None else str(part)
            for part in (language_model, vision_tower, audio_tower)
        ),
        hub=hub,
    )
    gathered = gather(str(name_or_path), elsewhere)
    config = model_config(gathered) if config is None else _with_ids(config, gathered)
    if attn_implementation is not None:
        config._attn_implementation = attn_implementation  # pyright: ignore[reportPrivateUsage]
    chosen = _choose_dtype(dtype, config, gathered)
    model = empty_model(config)
    placement = place(model, device_map, device, chosen)
    narrow = four_bit or narrowing(quantize, placement.device_of("lm_head"))
    if narrow is not None:
        _refuse_narrow(model, str(name_or_path))
        narrow.prepare(model, chosen)
    fitted = fit_model(model, gathered)
    _fill(model, fitted, gathered.changes, placement, chosen, narrow)
    placement.finish(model)
    if quantize == "int4":
        pack_int4(model)
    _set_dtype(config, chosen)
    model.name_or_path = str(name_or_path)
    if (gathered.folder / "generation_config.json").is_file():
        defaults: Any = GenerationConfig
        model.generation_config = defaults.from_pretrained(gathered.folder)
    return model.eval()


def _refuse_narrow(model: VideoLlama2ForConditionalGeneration, name: str) -> None:
    kind = model.config.weight_only
    if kind is not None:
        raise CheckpointError(name, f"its weights are {kind} already", "Leave out quantize")


def is_released_checkpoint(name_or_path: Name | None, **kwargs: Any) -> bool:
    """Whether a folder or hub id holds a released layout. Asks the hub for the config alone."""
    if name_or_path is None:
        return False
    return find_layout(str(name_or_path), _hub_options(kwargs)) in _RELEASED_LAYOUTS


def holds_trunk(name_or_path: Name | None, **kwargs: Any) -> bool:
    """Whether a folder or hub id holds our model without its output layer."""
    return _architecture(name_or_path, kwargs) == VideoLlama2Model.__name__


def holds_whole(name_or_path: Name | None, **kwargs: Any) -> bool:
    """Whether a folder or hub id holds the whole model, in our layout or a released one."""
    if is_released_checkpoint(name_or_path, **kwargs):
        return True
    return _architecture(name_or_path, kwargs) == VideoLlama2ForConditionalGeneration.__name__


def _architecture(name_or_path: Name | None, kwargs: Mapping[str, Any]) -> str | None:
    if name_or_path is None:
        return None
    return find_architecture(str(name_or_path), _hub_options(kwargs))


def load_released(name_or_path: Name, **kwargs: Any) -> VideoLlama2ForConditionalGeneration:
    """`load_model` with the arguments that transformers' `from_pretrained` takes.

    Raises:
        CheckpointError: as `load_model`; or an argument asks for what only a native one can do.
    """
    if "torch_dtype" in kwargs:
        kwargs.setdefault("dtype", kwargs["torch_dtype"])
    for name in _ALWAYS_SO:
        kwargs.pop(name, None)
    unknown = sorted(kwargs.keys() - _ARGUMENTS)
    if unknown:
        raise CheckpointError(
            name_or_path,
            f"a released layout is loaded without {', '.join(unknown)}",
            "Convert it first (videollama2 convert SRC DST) and load the result",
        )
    return load_model(name_or_path, **kwargs)


def empty_model(config: VideoLlama2Config) -> VideoLlama2ForConditionalGeneration:
    """The model without memory for its parameters; buffers that are computed are real."""
    with init_empty_weights(include_buffers=False), no_init_weights():
        model = VideoLlama2ForConditionalGeneration(config)
    model.tie_weights()  # what is tied within the context above comes apart again
    return model


def model_config(gathered: Gathered) -> VideoLlama2Config:
    """The config object of a checkpoint."""
    return VideoLlama2Config.from_dict(gathered.config)  # pyright: ignore[reportUnknownMemberType]


def fit_model(model: VideoLlama2ForConditionalGeneration, gathered: Gathered) -> Fit:
    """Match a checkpoint's tensors with a model's parameters; all fit, or an error names the rest.

    Raises:
        CheckpointError: a parameter is missing, unexpected or wrongly shaped.
    """
    result = fit(slot_shapes(model), gathered.tensors, known_unused(model.config))
    for name, change in gathered.changes.items():
        stored = gathered.tensors.get(name)
        if stored is None or stored.shape != change.shape:
            result.unexpected.append(f"{name} (of the adapter)")
    result.check(gathered.folder, to_released if gathered.released else str)
    check_twins(result.unused, gathered.tensors)
    return result


def slot_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of everything that is stored of a model, by canonical name; shared ones once."""
    return {name: tuple(slot.value.shape) for name, slot in _slots(model).items()}


@dataclass(frozen=True)
class _Slot:
    """A parameter or buffer that is stored, and the places in the model that share it."""

    value: Tensor
    places: list[tuple[nn.Module, str]]
    name: str  # as the model calls it


def _slots(model: nn.Module) -> dict[str, _Slot]:
    """Everything to fill, by canonical name; shared parameters once, under their first name."""
    slots: dict[str, _Slot] = {}
    seen: dict[int, _Slot] = {}
    stored = stored_names(model)
    for held in tensors_held(model):
        if held.name not in stored:
            continue
        place_of = (held.module, held.leaf)
        if id(held.value) in seen:
            seen[id(held.value)].places.append(place_of)
            continue
        slot = _Slot(held.value, [place_of], held.name)
        seen[id(held.value)] = slots[canonical(held.name)] = slot
    return slots


def _fill(
    model: VideoLlama2ForConditionalGeneration,
    fitted: Fit,
    changes: Mapping[str, LowRank],
    placement: Placement,
    dtype: torch.dtype,
    narrow: Narrowing | None = None,
) -> None:
    """Read every tensor into the model, in the order of the files."""
    slots = _slots(model)
    in_file_order = sorted(
        fitted.pieces.items(), key=lambda item: (item[1][0].stored.path, item[1][0].stored.offset)
    )
    for name, pieces in in_file_order:
        slot = slots[name]
        value = torch.empty(
            slot.value.shape,
            dtype=_dtype_of(model, slot, dtype),
            device=placement.device_of(slot.name),
        )
        for piece in pieces:
            _read_piece(piece, value, changes.get(piece.name))
        if narrow is not None and narrow.holds(slot.value):
            value = narrow.quantized(value, slot.places[0][0])
        elif isinstance(slot.value, nn.Parameter):
            value = nn.Parameter(value, requires_grad=slot.value.requires_grad)
        for module, leaf in slot.places:
            setattr(module, leaf, value)


def _read_piece(piece: Piece, value: Tensor, change: LowRank | None) -> None:
    if piece.expert is not None:
        value = value[piece.expert]
        if piece.half is not None:
            rows = value.shape[0] // 2
            value = value[piece.half * rows : (piece.half + 1) * rows]
    if change is None:
        piece.stored.read_into(value)
    else:
        value.copy_(change.added_to(piece.stored.read()))


def _dtype_of(
    model: VideoLlama2ForConditionalGeneration, slot: _Slot, dtype: torch.dtype
) -> torch.dtype:
    """The dtype of one parameter: integers keep theirs, a few modules ask for float32."""
    layer, leaf = slot.places[0]
    if not slot.value.is_floating_point():
        return slot.value.dtype
    if isinstance(layer, NarrowLinear) and leaf != "bias" and layer.is_narrow:
        return slot.value.dtype
    keep = set(getattr(model, "_keep_in_fp32_modules_strict", None) or ())
    if dtype == torch.float16:
        keep |= set(getattr(model, "_keep_in_fp32_modules", None) or ())
    return torch.float32 if keep.intersection(slot.name.split(".")) else dtype


def _with_ids(config: VideoLlama2Config, gathered: Gathered) -> VideoLlama2Config:
    """A given config, with the media token ids of the checkpoint's tokenizer.

    A config that came from the hub alone could not see the tokenizer and has the ids from the
    vocabulary's size on; the processor has the tokenizer's.
    """
    if config.video_token_id == int(config.text_config.vocab_size):
        for field in MEDIA_TOKENS:
            setattr(config, field, gathered.config.get(field, getattr(config, field)))
    return config


def _choose_dtype(
    dtype: torch.dtype | str | None, config: VideoLlama2Config, gathered: Gathered
) -> torch.dtype:
    if dtype is None or dtype == "auto":
        said = config.dtype
        stored = (part.dtype for part in gathered.tensors.values())
        first = next((one for one in stored if one.is_floating_point), torch.float32)
        dtype = first if said is None else said
    chosen = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if not isinstance(chosen, torch.dtype) or not chosen.is_floating_point:
        raise CheckpointError("dtype", f"{dtype!r} is no float type", "Use float32 or bfloat16")
    return chosen


def _set_dtype(config: VideoLlama2Config, dtype: torch.dtype) -> None:
    parts = (config, config.vision_config, config.text_config, config.audio_config)
    for part in parts:
        if part is not None:
            part.dtype = dtype


_RELEASED_LAYOUTS: tuple[Layout, ...] = ("full", "base", "adapter")

_HUB_ARGUMENTS = ("revision", "cache_dir", "token", "local_files_only")

_ARGUMENTS = frozenset(
    {
        "dtype",
        "device",
        "device_map",
        "language_model",
        "vision_tower",
        "audio_tower",
        "config",
        "attn_implementation",
        *_HUB_ARGUMENTS,
    }
)

# What transformers' callers pass and what holds here without being asked for.
_ALWAYS_SO = (
    "torch_dtype",
    "low_cpu_mem_usage",
    "trust_remote_code",
    "use_safetensors",
    "adapter_kwargs",
    "weights_only",
    "_from_auto",
    "_commit_hash",
)


def _hub_options(kwargs: Mapping[str, Any]) -> HubOptions:
    return HubOptions(**{key: kwargs[key] for key in _HUB_ARGUMENTS if kwargs.get(key) is not None})
