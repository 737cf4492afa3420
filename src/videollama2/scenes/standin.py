"""A small world made by our own code alone: twelve coloured shapes, six of which give tones."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .world import NOTE_SAMPLES, NOTES_PER_SOUND, SAMPLING_RATE, SPRITE_PIXELS, World

_COLOURS: dict[str, tuple[int, int, int]] = {
    "arrow": (230, 120, 160),
    "circle": (90, 200, 210),
    "cross": (150, 90, 60),
    "diamond": (120, 220, 120),
    "drop": (70, 130, 230),
    "heart": (225, 60, 90),
    "moon": (250, 230, 140),
    "ring": (170, 170, 180),
    "square": (200, 160, 90),
    "star": (250, 190, 60),
    "stripe": (60, 60, 90),
    "triangle": (140, 100, 220),
}
_TONES: dict[str, tuple[float, ...]] = {
    # share of each harmonic; a lower pitch or another pulse tells the others apart
    "cross": (1.0, 0.0, 0.33, 0.0, 0.2, 0.0, 0.14),
    "heart": (1.0, 0.5, 0.33, 0.25, 0.2, 0.17),
    "moon": (1.0,),
    "ring": (1.0, 0.0, 0.0, 0.7, 0.0, 0.0, 0.5, 0.0, 0.0, 0.4),
    "star": (0.2, 1.0, 0.1, 0.8),
    "stripe": (0.1, 0.1, 0.3, 0.6, 1.0, 0.6, 0.3),
}
_PULSES: dict[str, float] = {"ring": 10.0, "star": 5.0, "cross": 3.0}


@cache
def standin_world() -> World:
    """The world of shapes and tones; the same object at every call."""
    names = tuple(_COLOURS)
    sprites = np.stack([_sprite(name) for name in names])
    sounding = tuple(_TONES)
    notes = np.stack([_notes(name, index) for index, name in enumerate(sounding)])
    return World(names, sprites, sounding, notes)


def _sprite(name: str) -> NDArray[np.uint8]:
    fine = 4 * SPRITE_PIXELS
    axis = (np.arange(fine) + 0.5) / fine * 2 - 1
    inside = _inside(name, axis[None, :], axis[:, None])
    inside = np.broadcast_to(inside, (fine, fine)).astype(np.float64)
    cover = inside.reshape(SPRITE_PIXELS, 4, SPRITE_PIXELS, 4).mean((1, 3))
    sprite = np.zeros((SPRITE_PIXELS, SPRITE_PIXELS, 4), np.uint8)
    sprite[..., :3] = _COLOURS[name]
    sprite[..., 3] = np.round(255 * cover)
    return sprite


def _inside(name: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a point of [-1, 1] x [-1, 1], y downwards, belongs to a shape."""
    radius = np.sqrt(x**2 + y**2)
    turn = np.arctan2(x, -y)
    shapes = {
        "arrow": ((y < 0) & (np.abs(x) < y + 1)) | ((y >= 0) & (np.abs(x) < 0.3)),
        "circle": radius < 0.95,
        "cross": (np.abs(x) < 0.3) | (np.abs(y) < 0.3),
        "diamond": np.abs(x) + np.abs(y) < 0.98,
        "drop": (np.sqrt(x**2 + (y - 0.35) ** 2) < 0.6)
        | ((y < 0.35) & (np.abs(x) < 0.45 * (y + 1))),
        "heart": (x**2 + (-y * 1.2 - 0.8 * np.sqrt(np.abs(x)) + 0.25) ** 2) < 0.85,
        "moon": (radius < 0.95) & (np.sqrt((x - 0.45) ** 2 + (y + 0.2) ** 2) > 0.75),
        "ring": (radius < 0.95) & (radius > 0.55),
        "square": (np.abs(x) < 0.85) & (np.abs(y) < 0.85),
        "star": radius < 0.62 + 0.36 * np.cos(5 * turn),
        "stripe": (np.abs(y) < 0.95) & (np.abs(np.abs(x) - 0.5) < 0.25),
        "triangle": np.abs(x) < (y + 0.95) / 2,
    }
    return shapes[name]


def _notes(name: str, index: int) -> NDArray[np.float32]:
    time = np.arange(NOTE_SAMPLES) / SAMPLING_RATE
    notes = np.zeros((NOTES_PER_SOUND, NOTE_SAMPLES))
    for note in range(NOTES_PER_SOUND):
        base = 180.0 * 2 ** ((index * 2 + note * 2) / 12)
        for harmonic, share in enumerate(_TONES[name], start=1):
            notes[note] += share * np.sin(2 * np.pi * base * harmonic * time)
        if name in _PULSES:
            notes[note] *= 0.5 + 0.5 * np.cos(2 * np.pi * _PULSES[name] * time)
        notes[note] *= 0.12 / notes[note].std()
    length = NOTE_SAMPLES / SAMPLING_RATE
    notes *= np.clip((length / 2 - np.abs(time - length / 2)) * 50, 0, 1)
    return notes.astype(np.float32)
