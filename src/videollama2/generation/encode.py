"""Tensors of one medium -> its tokens: every encoder runs once a medium, whatever the batch."""

import functools
from typing import Any

import torch
from torch import Tensor

from videollama2.generation.prompt import MediumTokens
from videollama2.processing.parts import LoadedMedia


def encode_medium(model: Any, kind: str, tensor: Tensor) -> MediumTokens:
    """Run the encoder and connector of one medium.

    `tensor`: (T, 3, H, W) for "video", (3, H, W) for "image", (F, mel bins) for "audio", without
    padded frames.

    Raises:
        ValueError: no such kind, or the model has no audio branch.
    """
    with torch.inference_mode():
        item = tensor[None].to(model.device)
        if kind == "video":
            features = model.get_video_features(item).pooler_output
        elif kind == "image":
            features = model.get_image_features(item).pooler_output
        elif kind == "audio":
            features = model.get_audio_features(item.to(model.dtype)).pooler_output
        else:
            raise ValueError(f"no medium is of the kind {kind!r}: choose video, image or audio")
    return MediumTokens(kind, features[0])


def encode_media(model: Any, loaded: LoadedMedia) -> tuple[MediumTokens, ...]:
    """Run the encoders of what was read; of an audio-visual clip side by side on a GPU.

    What an encoder made already is left alone: a medium without pixels and filter bank gives none.
    """
    parts = _tensors(loaded)
    if len(parts) < 2 or model.device.type != "cuda":
        return tuple(encode_medium(model, *one) for one in parts)
    pictures, sound = parts
    here: Any = torch.cuda.current_stream(model.device)
    beside = _second_stream(model.device)
    beside.wait_stream(here)  # before the first encoder is on its way, or it would wait for that
    seen = encode_medium(model, *pictures)
    with torch.cuda.stream(beside):
        heard = encode_medium(model, *sound)
    here.wait_stream(beside)
    heard.features.record_stream(here)
    return seen, heard


@functools.cache
def _second_stream(device: torch.device) -> Any:
    """One for good: torch keeps freed memory for each stream apart."""
    return torch.cuda.Stream(device)


def _tensors(loaded: LoadedMedia) -> list[tuple[str, Tensor]]:
    named = [(loaded.kind, loaded.pixels), ("audio", loaded.features)]
    return [(kind, tensor) for kind, tensor in named if tensor is not None]
