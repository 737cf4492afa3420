"""Which stretch of sound is heard; resampling against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample

from videollama2.processing.sound import (
    WINDOW_SAMPLES,
    fft_resample,
    native_window,
    released_file_window,
    released_soundtrack_window,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000]))
def test_resampling_is_scipys(samples: int, rate: int) -> None:
    sound = np.random.default_rng(samples).normal(size=samples)
    found = fft_resample(sound, rate, 16_000)
    wanted = sound if rate == 16_000 else resample(sound, len(found))
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert len(found) == int(np.ceil(samples * (16_000 / rate)))


def test_a_short_soundtrack_is_repeated_and_a_long_one_sampled() -> None:
    short = np.arange(1, 8_001, dtype=np.float32)
    window = released_soundtrack_window(short)
    assert window.shape == (WINDOW_SAMPLES,)
    assert np.array_equal(window[: 8 * 8_000], np.tile(short, 8))
    assert not window[8 * 8_000 :].any()
    long = np.arange(60 * 16_000, dtype=np.float32)
    window = released_soundtrack_window(long)
    starts = window[: 16 * 16_000 : 32_000] / 16_000
    np.testing.assert_allclose(starts, np.arange(8) * 7.25)


def test_a_file_is_its_first_channel_and_first_thirty_seconds() -> None:
    left = np.random.default_rng(0).normal(size=31 * 16_000).astype(np.float32)
    both = np.stack([left, np.ones_like(left)], axis=1)
    window = released_file_window(both, 16_000)
    assert np.array_equal(window, left[:WINDOW_SAMPLES])
    assert np.array_equal(window, released_file_window(both, 16_000))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 96_000])
def test_a_file_of_any_rate_fills_the_window(rate: int) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate).astype(np.float32)
    window = released_file_window(tone, rate)
    assert window.shape == (WINDOW_SAMPLES,)
    wanted = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(window[8_000:24_000], wanted[8_000 % 400 :][:16_000], atol=2e-2)


def test_native_takes_the_whole_sound_and_pads_only_the_tiniest() -> None:
    sound = np.ones(16_000 * 40, dtype=np.float32)
    assert len(native_window(sound, 30.0, 16)) == WINDOW_SAMPLES
    assert len(native_window(sound[:5_000], 30.0, 16)) == 5_000
    tiny = native_window(sound[:100], 30.0, 16)
    assert len(tiny) == 400 + 15 * 160
    assert tiny.sum() == 100
