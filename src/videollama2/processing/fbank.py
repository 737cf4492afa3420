"""The Kaldi filter bank in plain torch: log energies in mel bands, as BEATs was trained on.

The formulas are those of Kaldi's `compute-fbank-feats` with the options of the released code
(16 kHz, 25 ms windows every 10 ms, 128 bands, dither 0, everything else at Kaldi's defaults).

Shapes: F frames, M mel bins, K frequency bins.
"""

from __future__ import annotations

import functools
import math

import torch

SAMPLING_RATE = 16_000
WINDOW = 400  # samples: 25 ms
HOP = 160  # samples: 10 ms
FFT_LENGTH = 512  # the window rounded up to a power of two
NUM_MEL_BINS = 128
LOWEST_HZ = 20.0
PRE_EMPHASIS = 0.97
POVEY_POWER = 0.85
FULL_SCALE = 2.0**15  # Kaldi works on 16-bit integers' values


def num_fbank_frames(samples: int) -> int:
    """Frames that fit whole ("snip edges") into `samples` samples at 16 kHz."""
    return 0 if samples < WINDOW else 1 + (samples - WINDOW) // HOP


def samples_for_frames(frames: int) -> int:
    """The fewest samples at 16 kHz that give `frames` frames."""
    return 0 if frames < 1 else WINDOW + (frames - 1) * HOP


@functools.cache
def povey_window() -> torch.Tensor:
    """Kaldi's window (400,): a symmetric Hann window to the power 0.85, zero at both ends."""
    return torch.hann_window(WINDOW, periodic=False, dtype=torch.float64).pow(POVEY_POWER)


@functools.cache
def mel_triangles(num_mel_bins: int = NUM_MEL_BINS) -> torch.Tensor:
    """Band weights (K, M): triangles evenly spaced on the mel scale, 20 Hz to 8 kHz.

    mel(f) = 1127 ln(1 + f / 700); a triangle is linear in mel, not in Hz. At 128 bins the lowest
    bands are narrower than a frequency bin and some hold none: their energy is the log floor.
    The bin at 8 kHz belongs to no band, as in Kaldi.
    """
    # In float32 throughout, as the released code's library: the triangles' feet are that exact.
    hertz = torch.arange(FFT_LENGTH // 2, dtype=torch.float32) * (SAMPLING_RATE / FFT_LENGTH)
    mel = (1127.0 * (1.0 + hertz / 700.0).log())[:, None]
    lowest, highest = (1127.0 * math.log(1 + f / 700.0) for f in (LOWEST_HZ, SAMPLING_RATE / 2))
    step = (highest - lowest) / (num_mel_bins + 1)
    band = torch.arange(num_mel_bins, dtype=torch.float32)
    left, centre, right = (lowest + (band + side) * step for side in (0, 1, 2))
    rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
    triangles = torch.minimum(rising, falling).clamp_min(0.0)
    return torch.cat([triangles, triangles.new_zeros(1, num_mel_bins)])


def _spectrum(frames: torch.Tensor) -> torch.Tensor:
    return torch.fft.rfft(frames, n=FFT_LENGTH)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def fbank(waveform: torch.Tensor, num_mel_bins: int = NUM_MEL_BINS) -> torch.Tensor:
    """Waveforms (..., samples) at 16 kHz, full scale 1.0 -> log mel energies (..., F, M), float32.

    Runs on the waveform's device and in its precision (the released code is in float64 for sound
    files: bands 100 dB below the loudest are float32's rounding otherwise), with any number of
    leading dimensions; F is `num_fbank_frames(samples)`. Raises `ValueError` for a sound shorter
    than one window (25 ms).
    """
    if waveform.shape[-1] < WINDOW:
        raise ValueError(
            f"{waveform.shape[-1]} samples are less than one window of {WINDOW} (25 ms at 16 kHz)"
        )
    precise = waveform if waveform.dtype == torch.float64 else waveform.to(torch.float32)
    frames = (precise * FULL_SCALE).unfold(-1, WINDOW, HOP)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    # The first sample has no predecessor and stands in for its own.
    previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    frames = (frames - PRE_EMPHASIS * previous) * povey_window().to(frames)
    power = _spectrum(frames).abs().square()
    energies = power @ mel_triangles(num_mel_bins).to(power)
    return energies.clamp_min(torch.finfo(torch.float32).eps).log().to(torch.float32)
