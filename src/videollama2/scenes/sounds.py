"""Scene -> soundtrack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .scene import Heard, Scene
from .world import CLIP_SECONDS, NOTE_SAMPLES, SAMPLING_RATE, World

_FADE_SAMPLES = 480


def render_sound(scene: Scene, world: World) -> NDArray[np.float32]:
    """The four seconds of a scene's sound: (64000,) float32 mono at 16 kHz, within [-1, 1]."""
    samples = int(CLIP_SECONDS * SAMPLING_RATE)
    start = scene.noise_seed % samples
    track = world.hiss[start : start + samples] * np.float32(scene.hiss)
    if scene.staging.babble:
        track += world.babble[start : start + samples] * np.float32(scene.staging.babble)
    for sound in scene.sounds:
        _add(track, sound, world.notes[world.sound_index[sound.name]])
    track *= np.float32(scene.loudness)
    return np.clip(track, -1, 1, out=track)


def _add(track: NDArray[np.float32], sound: Heard, notes: NDArray[np.float32]) -> None:
    """Each note sounds on until the next one begins, the last until the sound ends."""
    first = round(sound.onset_s * SAMPLING_RATE)
    length = min(round(sound.duration_s * SAMPLING_RATE), track.size - first)
    step = length // len(sound.notes)
    for position, note in enumerate(sound.notes):
        count = min(step, NOTE_SAMPLES)
        at = first + position * step
        piece = notes[note, :count] * np.float32(sound.gain)
        piece[-_FADE_SAMPLES:] *= np.linspace(1, 0, min(_FADE_SAMPLES, count), dtype=np.float32)
        track[at : at + count] += piece
