"""`VideoLlama2ImageProcessor`: an image -> (3, H, W), in transformers' form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_base import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from .pixels import Frame, PixelSettings, to_pixels

# What the released 2.1 generation takes: SigLIP so400m at 384.
DEFAULT_SETTINGS = PixelSettings(
    (384, 384), "squash", image_mean=(0.5, 0.5, 0.5), image_std=(0.5, 0.5, 0.5)
)


class PixelAttributes:
    """What both picture processors keep as attributes: the fields of `PixelSettings`."""

    size: dict[str, int]

    def set_pixel_attributes(self, values: dict[str, Any]) -> None:
        """Take `PixelSettings`' fields out of `values` and set them; absent ones by default."""
        known = {k: values.pop(k) for k in PixelSettings.__dataclass_fields__ if k in values}
        for name, value in (
            PixelSettings.from_dict({**DEFAULT_SETTINGS.to_dict(), **known}).to_dict().items()
        ):
            setattr(self, name, value)

    @property
    def settings(self) -> PixelSettings:
        """The attributes as one record."""
        return PixelSettings.from_dict(
            {name: getattr(self, name) for name in PixelSettings.__dataclass_fields__}
        )


def as_frame(picture: Any) -> Frame:
    """A Pillow image, an array or a tensor, channels last or first -> (H, W, 3) uint8 RGB.

    Raises `ValueError` for anything else; paths are read by `media`, not here.
    """
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("RGB"))
    array = np.asarray(picture.cpu() if isinstance(picture, torch.Tensor) else picture)
    if array.ndim == 3 and array.shape[-1] != 3 and array.shape[0] == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[-1] != 3 or array.dtype != np.uint8:
        raise ValueError(
            f"a picture is a Pillow image or (H, W, 3) of uint8, not {array.shape} {array.dtype}"
        )
    return np.ascontiguousarray(array)


class VideoLlama2ImageProcessor(PixelAttributes, BaseImageProcessor):
    """Images as the vision tower takes them; PIL does the resizing, so torchvision is not needed.

    Takes the fields of `PixelSettings` by name.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        self.set_pixel_attributes(kwargs)
        super().__init__(**kwargs)

    def preprocess(self, images: Any, *_: Any, **kwargs: Any) -> BatchFeature:
        """One picture or a list of them -> `pixel_values` (items, 3, H, W), float32.

        Pillow images or uint8 arrays. Raises `ValueError` for others.
        """
        pictures = cast(
            Sequence[Any], images if isinstance(images, (list, tuple)) else _listed(images)
        )
        pixels = to_pixels([as_frame(picture) for picture in pictures], self.settings)
        return BatchFeature({"pixel_values": pixels})


def _listed(images: Any) -> list[Any]:
    return list(images) if getattr(images, "ndim", 3) == 4 else [images]
