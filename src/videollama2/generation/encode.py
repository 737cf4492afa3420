"""Tensors of one medium -> its tokens: every encoder runs once a medium, whatever the batch."""

from typing import Any

import torch
from torch import Tensor

from videollama2.generation.prompt import MediumTokens


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
