"""Waveforms -> the stretch of sound that a model hears, always the same for the same sound.

Two ways: `released`, what the released code feeds (30 s, mostly zeros where a clip is short), and
`native`, the whole sound without padding. The released code crops long files at random; here the
first 30 s are taken.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from videollama2.media.sampling import soundtrack_slices

from .fbank import SAMPLING_RATE, samples_for_frames

WINDOW_S = 30.0
WINDOW_SAMPLES = int(WINDOW_S * SAMPLING_RATE)

Waveform = npt.NDArray[np.float32]
Precise = npt.NDArray[np.float64]
Samples = TypeVar("Samples", np.float32, np.float64)


def _zero_padded(samples: npt.NDArray[Samples], length: int) -> npt.NDArray[Samples]:
    padded = np.zeros(length, dtype=samples.dtype)
    kept = samples[:length]
    padded[: len(kept)] = kept
    return padded


def released_soundtrack_window(waveform: Waveform) -> Waveform:
    """A video's soundtrack (samples,) at 16 kHz mono -> (480000,): 8 clips of 2 s, then zeros.

    A soundtrack of less than 2 s is simply repeated. Source: `process_audio_from_video`.
    """
    clips = [waveform[start:end] for start, end in soundtrack_slices(len(waveform))]
    return _zero_padded(np.concatenate(clips), WINDOW_SAMPLES)


def released_file_window(samples: Waveform | Precise, sampling_rate: int) -> Precise:
    """A sound file (samples,) or (samples, channels) at its own rate -> (480000,) at 16 kHz.

    First channel, first 30 s, zeros up to 30 s, then all 30 s resampled at once by FFT, so that
    the resampler rings into the zeros as it did in the released `process_audio_file`. In float64,
    as there: the filter bank then hears the faintest bands as the released model did.
    """
    if sampling_rate < 1:
        raise ValueError(f"a sampling rate of {sampling_rate} Hz")
    mono = samples if samples.ndim == 1 else samples[:, 0]
    padded = _zero_padded(mono.astype(np.float64), int(WINDOW_S * sampling_rate))
    resampled = fft_resample(padded, sampling_rate, SAMPLING_RATE)
    return _zero_padded(resampled, WINDOW_SAMPLES)


def native_window(waveform: Waveform, max_s: float, shortest_frames: int) -> Waveform:
    """A sound (samples,) at 16 kHz -> its first `max_s` seconds, not padded.

    Only a sound too short for a single audio token is padded, to `shortest_frames` frames.
    """
    kept = waveform[: int(max_s * SAMPLING_RATE)]
    least = samples_for_frames(shortest_frames)
    return kept if len(kept) >= least else _zero_padded(kept, least)


def fft_resample(samples: Precise, sampling_rate: int, wanted_rate: int) -> Precise:
    """(samples,) at one rate -> at another, by cutting or widening its whole spectrum.

    The length is rounded up, as librosa's. A component at the lower of the two Nyquist
    frequencies is shared between its two sides, which for a real signal doubles or halves it.
    """
    if sampling_rate == wanted_rate:
        return samples
    before = len(samples)
    after = math.ceil(before * (wanted_rate / sampling_rate))
    spectrum = np.fft.rfft(samples)
    shared = min(before, after)
    resized = np.zeros(after // 2 + 1, dtype=spectrum.dtype)
    resized[: shared // 2 + 1] = spectrum[: shared // 2 + 1]
    if shared % 2 == 0 and before != after:
        resized[shared // 2] *= 2.0 if after < before else 0.5
    return np.fft.irfft(resized, after) * (after / before)
