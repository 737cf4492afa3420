"""Geometry and normalisation, against transformers' own image processors on PIL."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from videollama2.processing.pixels import PixelSettings, black_frame, to_pixels

CLIP = {
    "crop_size": {"height": 56, "width": 56},
    "do_center_crop": True,
    "size": {"shortest_edge": 64},
    "resample": 3,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
SIGLIP = {
    "size": {"height": 56, "width": 48},
    "resample": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.4, 0.3],
}


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(101, 67), (48, 64), (56, 56), (300, 200), (20, 500)])
@pytest.mark.parametrize(
    ("config", "oracle"),
    [
        (CLIP, CLIPImageProcessorPil),
        (SIGLIP, SiglipImageProcessorPil),
        ({**SIGLIP, "resample": 0}, SiglipImageProcessorPil),
    ],
)
def test_same_as_transformers(shape: tuple[int, int], config: Any, oracle: Any) -> None:
    frame = noise(*shape)
    settings = PixelSettings.from_processor(config)
    wanted = oracle(**config)(Image.fromarray(frame), return_tensors="pt")["pixel_values"]
    found = to_pixels([frame], settings)
    std = torch.tensor(settings.image_std).view(1, 3, 1, 1)
    assert found.shape == wanted.shape
    assert float(((found - wanted) * std * 255).abs().max()) < 1e-3


def test_an_image_processor_gives_the_same_settings_as_its_file() -> None:
    assert PixelSettings.from_processor(CLIPImageProcessorPil(**CLIP)) == (
        PixelSettings.from_processor(CLIP)
    )


def test_pad_puts_the_frame_in_the_middle_of_its_mean_colour() -> None:
    settings = PixelSettings((40, 40), "squash", (0.5, 0.25, 0.0), (1.0, 1.0, 1.0), geometry="pad")
    frame = np.full((40, 20, 3), 255, dtype=np.uint8)
    pixels = to_pixels([frame], settings)[0]
    levels = (pixels + torch.tensor(settings.image_mean).view(3, 1, 1)) * 255
    assert levels[:, 20, 2].round().tolist() == [127, 63, 0]
    assert levels[:, 20, 20].round().tolist() == [255, 255, 255]


def test_the_black_frame_has_its_sides_swapped() -> None:
    assert black_frame(noise(30, 50)).shape == (50, 30, 3)


def test_settings_survive_json() -> None:
    settings = PixelSettings.from_processor(CLIP, "pad")
    assert settings.size == (56, 56)
    assert settings.shortest_edge == 64
    assert PixelSettings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize(
    "change",
    [
        {"do_normalize": False},
        {"rescale_factor": 1.0},
        {"size": {"longest_edge": 3}},
        {"size": {"height": 64, "width": 64}},
    ],
)
def test_what_is_not_supported_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"supported|understood"):
        PixelSettings.from_processor({**CLIP, **change})


@pytest.mark.parametrize(
    "frame", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), "u1")]
)
def test_frames_of_another_form_are_refused(frame: np.ndarray) -> None:
    settings = PixelSettings.from_processor(SIGLIP)
    with pytest.raises(ValueError, match="a frame is"):
        to_pixels([frame], settings)
    with pytest.raises(ValueError, match="no frames"):
        to_pixels([], settings)
