"""What the processor's call may be given: media singly or in lists, transformers' options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch

from .parts import Part, VideoInput

_NESTED = ("text_kwargs", "images_kwargs", "videos_kwargs", "audio_kwargs", "common_kwargs")
# What transformers and vLLM pass along that decides nothing here.
_WITHOUT_EFFECT = frozenset(
    {"do_sample_frames", "video_metadata", "return_metadata", "return_attention_mask"}
    | {"load_audio_backend"}
)


def unnested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with transformers' `text_kwargs` and its like taken apart.

    Raises `ValueError` for an option that is given twice.
    """
    flat = {name: value for name, value in options.items() if name not in _NESTED}
    for nest in _NESTED:
        for name, value in cast(dict[str, Any], options.get(nest) or {}).items():
            if name in flat:
                raise ValueError(f"{name} is given twice: once in {nest}")
            flat[name] = value
    return flat


def row_lengths(options: dict[str, Any]) -> tuple[int, int | None]:
    """How long rows are to be at least and at most, as the options say, which are taken out.

    Rows of a batch are padded to the longest, with `padding="max_length"` to `max_length`, and
    with `truncation` none may be longer; else `max_length` is of no effect. Raises `ValueError`
    where it is missing.
    """
    names = ("padding", "truncation", "max_length")
    padding, truncation, max_length = (options.pop(name, None) for name in names)
    fill = str(getattr(padding, "value", padding)) == "max_length"
    if fill and max_length is None:
        raise ValueError('padding="max_length" needs max_length')
    return int(max_length) if fill else 0, max_length if truncation else None


def check_options(options: Mapping[str, Any], return_tensors: Any) -> None:
    """Refuse what would be ignored otherwise: `TypeError` for unknown names, else `ValueError`."""
    if str(return_tensors) not in ("pt", "None", "TensorType.PYTORCH"):
        raise ValueError(f"return_tensors is {return_tensors!r}; PyTorch tensors are made here")
    unknown = set(options) - _WITHOUT_EFFECT
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")


def as_images(images: Any) -> list[Any]:
    """One image, a list (nested lists are flattened) or an array of them -> a flat list."""
    if images is None:
        return []
    if isinstance(images, (list, tuple)):
        return [one for item in cast(Sequence[Any], images) for one in as_images(item)]
    return list(images) if getattr(images, "ndim", 3) == 4 else [images]


def as_sounds(audio: Any) -> list[Any]:
    """One sound or a list of them -> a flat list; a list of numbers is one sound."""
    if audio is None:
        return []
    if not isinstance(audio, (list, tuple)):
        return [audio]
    items = cast(Sequence[Any], audio)
    if items and isinstance(items[0], (int, float)):
        return [torch.tensor(items, dtype=torch.float32)]
    return [one for item in items for one in as_sounds(item)]


def with_frames(part: Part, num_frames: int) -> Part:
    """The part with this many frames, if it is a video that does not say how many itself."""
    if isinstance(part, VideoInput) and part.num_frames is None:
        return replace(part, num_frames=num_frames)
    return part
