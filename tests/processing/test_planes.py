"""Frames without Pillow: its bytes, whatever the size, and Pillow itself where it differs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from videollama2.processing import pixels, planes
from videollama2.processing.pixels import PixelSettings, to_pixels
from videollama2.processing.planes import PlaneResizer, plane_resizer

SIGLIP = PixelSettings((48, 60), "squash", (0.5, 0.4, 0.3), (0.5, 0.25, 0.3))


def frame_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise, and hard edges, which overshoot most."""
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame[:, : width // 2] = rng.choice([0, 255], (height, width // 2, 3)).astype(np.uint8)
    return frame


def pillows(frame: np.ndarray, after: tuple[int, int], resample: int) -> np.ndarray:
    image = Image.fromarray(frame).resize(after[::-1], Image.Resampling(resample))
    return np.asarray(image).transpose(2, 0, 1)


def rows_first(frame: np.ndarray, after: tuple[int, int], resample: int) -> np.ndarray:
    """As Pillow does where resizing each row first is the cheaper order."""
    image = Image.fromarray(frame)
    for size in ((after[1], image.height), (after[1], after[0])):
        image = image.resize(size, Image.Resampling(resample))
    return np.asarray(image).transpose(2, 0, 1)


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.tuples(st.integers(1, 110), st.integers(1, 110)),
    st.sampled_from([2, 3]),
    st.integers(0, 2**32 - 1),
)
def test_resized_as_pillow_does(
    before: tuple[int, int], after: tuple[int, int], resample: int, seed: int
) -> None:
    resize_plane = PlaneResizer(before, after, resample)
    found = np.empty((3, *after), np.float32)
    for place in range(2):  # the memory it keeps is as good for the next frame
        frame = frame_of(*before, seed + place)
        for channel, plane in enumerate(found):
            plane[...] = resize_plane(frame[..., channel])
        assert np.array_equal(found, rows_first(frame, after, resample))


@pytest.mark.parametrize("before", [(192, 192), (120, 160), (180, 320), (270, 480)])
def test_every_place_of_the_tower_is_pillows(before: tuple[int, int]) -> None:
    after = (384, 384)
    resize_plane = plane_resizer(before, after, 3)
    assert resize_plane is not None
    found = np.empty((3, *after), np.float32)
    for seed in range(4):
        frame = frame_of(*before, seed)
        for channel, plane in enumerate(found):
            plane[...] = resize_plane(frame[..., channel])
        assert np.array_equal(found, pillows(frame, after, 3))


def test_no_sum_is_too_large_for_float32() -> None:
    """Coarse and fine parts are whole numbers, and the largest sums of either are below 2**24."""
    for before, after in ((1, 384), (192, 384), (97, 384), (319, 384), (50, 224), (900, 336)):
        found = planes._pass(before, after, 3, across=True)
        fine = found.fine.astype(np.float64) * 2**planes._FINE_BITS
        for part, most in ((found.coarse.astype(np.float64), 2**22), (fine, 2**24)):
            assert np.array_equal(part, np.round(part))
            assert 255 * np.abs(part).sum(-1).max() < most


def test_every_sum_is_rounded_as_pillow_does() -> None:
    """Half a level up, then down to a whole one: at all sums from black to white, and at halves."""
    level = int(planes._LEVEL)
    units = np.arange(-2 * level, 258 * level, dtype=np.float32)
    expected = np.clip((units.astype(np.int64) + level // 2) // level, 0, 255)
    found = units[None].copy()
    planes._levels(found, np.full_like(found, 0.998))  # whatever is less than a unit is left out
    assert np.array_equal(found[0], expected)


@pytest.mark.parametrize("threads", [1, 3])
def test_pixels_are_pillows(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [frame_of(20, 33, seed) for seed in range(9)]
    used = plane_resizer((20, 33), SIGLIP.size, 3)
    assert used is not None
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = to_pixels(frames, SIGLIP)
    monkeypatch.setattr(pixels, "plane_resizer", lambda *_: None)
    assert torch.equal(found, to_pixels(frames, SIGLIP))


def test_a_pillow_that_resizes_otherwise_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "resize", lambda self, size, _: Image.new("RGB", size))
    planes._is_pillows.cache_clear()
    assert plane_resizer((20, 33), (48, 60), 3) is None
    planes._is_pillows.cache_clear()


def test_where_columns_are_resized_first_pillow_is_asked() -> None:
    assert not np.array_equal(
        pillows(frame_of(240, 135), (224, 224), 3), rows_first(frame_of(240, 135), (224, 224), 3)
    )
    assert plane_resizer((240, 135), (224, 224), 3) is None


@pytest.mark.parametrize(
    ("before", "resample"), [((49, 60), 3), ((20, 160), 3), ((96, 120), 3), ((20, 33), 1)]
)
def test_pillow_does_the_rest(before: tuple[int, int], resample: int) -> None:
    assert plane_resizer(before, (48, 60), resample) is None
