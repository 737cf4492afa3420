"""The filter bank against transformers' numpy implementation of Kaldi's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from videollama2.processing.fbank import (
    FULL_SCALE,
    fbank,
    mel_triangles,
    num_fbank_frames,
    samples_for_frames,
)


def oracle(waveform: np.ndarray, bins: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # at 128 bins it remarks on empty bands
        filters = mel_filter_bank(
            257,
            bins,
            20,
            8000,
            16000,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
    return spectrogram(
        waveform * FULL_SCALE,
        window_function(400, "povey", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        remove_dc_offset=True,
        mel_filters=filters,
        log_mel="log",
        mel_floor=1.192092955078125e-07,
    ).T


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, int(seconds * 16_000))


@pytest.mark.parametrize("bins", [80, 128])
def test_same_as_transformers(bins: int) -> None:
    waveform = noise(2.0)
    wanted = torch.from_numpy(np.asarray(oracle(waveform, bins), dtype=np.float32))
    torch.testing.assert_close(fbank(torch.from_numpy(waveform), bins), wanted, atol=2e-3, rtol=0)
    single = fbank(torch.from_numpy(waveform).float(), bins)
    torch.testing.assert_close(single, wanted, atol=5e-3, rtol=0)


def test_a_batch_is_its_items() -> None:
    waveforms = torch.from_numpy(noise(3.0)).float().view(2, 3, -1)
    together = fbank(waveforms)
    assert together.shape == (2, 3, num_fbank_frames(8_000), 128)
    torch.testing.assert_close(together[1, 2], fbank(waveforms[1, 2]), atol=1e-5, rtol=0)


def test_silence_is_the_log_floor() -> None:
    assert torch.all(fbank(torch.zeros(800)) == np.float32(np.log(2.0**-23)))


def test_a_tone_peaks_in_its_band() -> None:
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)
    band = int(fbank(tone).mean(0).argmax())
    centre_bin = mel_triangles()[:, band].argmax()
    assert abs(float(centre_bin) * 31.25 - 1000) < 40


def test_thirty_seconds_are_2998_frames() -> None:
    assert num_fbank_frames(480_000) == 2998
    with pytest.raises(ValueError, match="less than one window"):
        fbank(torch.zeros(399))


@given(st.integers(1, 5000))
def test_frames_and_samples_are_inverse(frames: int) -> None:
    samples = samples_for_frames(frames)
    assert num_fbank_frames(samples) == frames
    assert num_fbank_frames(samples - 1) == frames - 1
