"""Voices that say nothing: a crowd talking, made of pulse trains behind changing formants."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_VOICES = 6
_SPOKEN = 0.8  # the share of syllables that are not pauses
_FORMANTS = ((250.0, 850.0), (900.0, 2300.0), (2300.0, 3200.0))  # Hz, from the lowest up
_BANDWIDTH = 90.0  # Hz


def make_babble(samples: int, rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """So many samples at this rate, (samples,) float32 of unit variance."""
    track = np.zeros(samples, np.float32)
    for _ in range(_VOICES):
        pitch, at = rng.uniform(90, 230), 0
        while at < samples:
            count = int(rng.uniform(0.12, 0.35) * rate)
            if rng.random() < _SPOKEN:
                said = _syllable(pitch * rng.uniform(0.85, 1.2), count, rate, rng)
                track[at : at + count] += said[: samples - at]
            at += int(0.8 * count)
    return track / track.std()


def _syllable(pitch: float, count: int, rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    pulses = 2 * (pitch * np.arange(count) / rate % 1) - 1
    spectrum = np.fft.rfft(pulses * np.hanning(count))
    frequency = np.fft.rfftfreq(count, 1 / rate)
    heard = sum(
        1 / (1 + ((frequency - rng.uniform(*between)) / _BANDWIDTH) ** 2) / (1 + number)
        for number, between in enumerate(_FORMANTS)
    )
    return np.fft.irfft(spectrum * heard, count).astype(np.float32)
