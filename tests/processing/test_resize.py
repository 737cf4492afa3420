"""Pillow's resize without Pillow, and all of preprocessing as a GPU does it: the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from videollama2.processing.pixels import PixelSettings, to_pixels, to_pixels_on
from videollama2.processing.resize import resized

SIDES = st.integers(1, 70)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def frame_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise and hard edges, which overshoot most."""
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame[:, : width // 2] = rng.choice([0, 255], (height, width // 2, 3)).astype(np.uint8)
    return frame


@pytest.mark.parametrize("device", DEVICES)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from([2, 3]))
def test_resize_is_pillows(
    device: str, height: int, width: int, rows: int, columns: int, resample: int
) -> None:
    frame = frame_of(height, width)
    expected = np.asarray(Image.fromarray(frame).resize((columns, rows), resample))
    found = resized(torch.from_numpy(frame).to(device), rows, columns, resample)
    assert np.array_equal(found.permute(1, 2, 0).cpu().numpy(), expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("geometry", ["square", "pad"])
@pytest.mark.parametrize(
    ("resize", "edge"), [("squash", None), ("shortest_edge_crop", None), ("shortest_edge_crop", 20)]
)
def test_pixels_are_those_of_the_cpu(
    device: str, geometry: str, resize: str, edge: int | None
) -> None:
    settings = PixelSettings(
        (28, 28),
        resize,  # type: ignore[arg-type]
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
        geometry=geometry,  # type: ignore[arg-type]
        shortest_edge=edge,
    )
    for height, width in ((45, 80), (80, 45), (28, 28), (9, 10)):
        frames = [frame_of(height, width, seed) for seed in range(2)]
        found = to_pixels_on(torch.device(device), frames, settings)
        assert torch.equal(found.cpu(), to_pixels(frames, settings))
