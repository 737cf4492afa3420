"""Small frames without Pillow: its bytes, whatever the size, and Pillow itself where it differs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from videollama2.processing import enlarge, pixels
from videollama2.processing.enlarge import Enlarger, enlarger
from videollama2.processing.pixels import PixelSettings, to_pixels

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


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.tuples(st.integers(0, 90), st.integers(0, 90)),
    st.sampled_from([2, 3]),
    st.integers(0, 2**32 - 1),
)
def test_enlarged_as_pillow_does(
    before: tuple[int, int], more: tuple[int, int], resample: int, seed: int
) -> None:
    after = (before[0] + more[0], before[1] + more[1])
    enlarge_frame = Enlarger(before, after, resample)
    found = np.empty((3, *after), np.float32)
    for place in range(2):  # the memory it keeps is as good for the next frame
        frame = frame_of(*before, seed + place)
        enlarge_frame(frame, found)
        assert np.array_equal(found, pillows(frame, after, resample))


@pytest.mark.parametrize("before", [(192, 192), (120, 160), (180, 320), (240, 135)])
def test_every_place_of_the_tower_is_pillows(before: tuple[int, int]) -> None:
    after = (384, 384)
    enlarge_frame = enlarger(before, after, 3)
    assert enlarge_frame is not None
    found = np.empty((3, *after), np.float32)
    for seed in range(4):
        enlarge_frame(frame_of(*before, seed), found)
        assert np.array_equal(found, pillows(frame_of(*before, seed), after, 3))


def test_no_sum_is_too_large_for_float32() -> None:
    """Coarse and fine parts are whole numbers, and the largest sums of either are below 2**24."""
    for before, after in ((1, 384), (192, 384), (97, 384), (319, 384), (50, 224)):
        found = enlarge._pass(before, after, 3)
        coarse = found.weights[:, : found.block].astype(np.float64) / enlarge._FINE
        fine = found.weights[:, found.block :].astype(np.float64) * 2**enlarge._FINE_BITS
        for part in (coarse, fine):
            assert np.array_equal(part, np.round(part))
            assert 255 * np.abs(part).sum(-1).max() < 2**24


@pytest.mark.parametrize("threads", [1, 3])
def test_pixels_are_pillows(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [frame_of(20, 33, seed) for seed in range(9)]
    used = enlarger((20, 33), SIGLIP.size, 3)
    assert used is not None
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = to_pixels(frames, SIGLIP)
    monkeypatch.setattr(pixels, "enlarger", lambda *_: None)
    assert torch.equal(found, to_pixels(frames, SIGLIP))


def test_a_pillow_that_resizes_otherwise_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "resize", lambda self, size, _: Image.new("RGB", size))
    enlarge._is_pillows.cache_clear()
    assert enlarger((20, 33), (48, 60), 3) is None
    enlarge._is_pillows.cache_clear()


@pytest.mark.parametrize(
    ("before", "resample"), [((47, 33), 3), ((20, 60), 3), ((96, 120), 3), ((20, 33), 1)]
)
def test_pillow_does_the_rest(before: tuple[int, int], resample: int) -> None:
    assert enlarger(before, (48, 60), resample) is None
