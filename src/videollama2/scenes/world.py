"""The world that scenes are drawn from: pictures of things and the notes that some of them make."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .babble import make_babble
from .staging import CLIP_SECONDS

SPRITE_PIXELS = 48
SAMPLING_RATE = 16_000
NOTE_SAMPLES = 12_800  # 0.8 s
NOTES_PER_SOUND = 5

_NOISE_SEED = 20_240_611


class WorldFileError(ValueError):
    """The packed file of pictures and notes is not what it should be."""


@dataclass(frozen=True)
class World:
    """Pictures and notes, with what is derived from them once and kept.

    Attributes:
        names: one plain lower-case word for each thing.
        sprites: (things, 48, 48, 4) uint8, straight alpha.
        sounding: the things that make a sound; a sound has the name of its thing.
        notes: (sounds, 5, 12800) float32 in [-1, 1], 0.8 s each at 16 kHz.
    """

    names: tuple[str, ...]
    sprites: NDArray[np.uint8]
    sounding: tuple[str, ...]
    notes: NDArray[np.float32]
    cache: dict[tuple[object, ...], NDArray[np.float32]] = field(
        default_factory=dict[tuple[object, ...], NDArray[np.float32]], repr=False, compare=False
    )

    @cached_property
    def silent(self) -> tuple[str, ...]:
        """The things that make no sound."""
        return tuple(name for name in self.names if name not in self.sounding)

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each thing among the sprites."""
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def sound_index(self) -> dict[str, int]:
        """Position of each sound among the notes."""
        return {name: index for index, name in enumerate(self.sounding)}

    @cached_property
    def hiss(self) -> NDArray[np.float32]:
        """White noise of unit variance, two clips long, the same in every world."""
        generator = np.random.default_rng(_NOISE_SEED)
        samples = 2 * int(CLIP_SECONDS * SAMPLING_RATE)
        return generator.standard_normal(samples, dtype=np.float32)

    @cached_property
    def babble(self) -> NDArray[np.float32]:
        """A crowd talking, unit variance, two clips long, the same in every world."""
        generator = np.random.default_rng(_NOISE_SEED + 3)
        return make_babble(2 * int(CLIP_SECONDS * SAMPLING_RATE), SAMPLING_RATE, generator)

    @cached_property
    def grain(self) -> NDArray[np.float32]:
        """Picture noise of unit variance, (65536 + 27648,): any slice of it is one 96 px frame."""
        generator = np.random.default_rng(_NOISE_SEED + 1)
        return generator.standard_normal(65_536 + 96 * 96 * 3, dtype=np.float32)

    @cached_property
    def textures(self) -> NDArray[np.float32]:
        """(24, 12, 12) smooth patterns around 0 that give a background its texture."""
        generator = np.random.default_rng(_NOISE_SEED + 2)
        return generator.uniform(-1, 1, (24, 12, 12)).astype(np.float32)


def load_world(path: str | os.PathLike[str] | None) -> World:
    """Open a packed world; with None, shapes and tones made by our own code stand in.

    Raises:
        FileNotFoundError: there is no such file.
        WorldFileError: the file lacks an array or holds one of the wrong shape.
    """
    if path is None:
        from .standin import standin_world

        return standin_world()
    with np.load(Path(path), allow_pickle=False) as packed:
        missing = {"names", "sprites", "sounding", "notes"} - set(packed.files)
        if missing:
            raise WorldFileError(f"{path}: no array called {', '.join(sorted(missing))}")
        names = tuple(str(name) for name in packed["names"])
        sounding = tuple(str(name) for name in packed["sounding"])
        sprites, notes = packed["sprites"], packed["notes"]
    _check(str(path), names, sprites, sounding, notes)
    return World(names, sprites, sounding, notes.astype(np.float32) / 32768)


def pack_world(
    path: str | os.PathLike[str],
    names: tuple[str, ...],
    sprites: NDArray[np.uint8],
    sounding: tuple[str, ...],
    notes: NDArray[np.int16],
) -> None:
    """Write a world as one compressed npz file without pickled objects.

    Raises:
        WorldFileError: an array has not the shape or type that `load_world` expects.
    """
    _check(str(path), names, sprites, sounding, notes)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        Path(path), names=np.array(names), sprites=sprites, sounding=np.array(sounding), notes=notes
    )


def _check(
    path: str,
    names: tuple[str, ...],
    sprites: NDArray[np.uint8],
    sounding: tuple[str, ...],
    notes: NDArray[np.int16],
) -> None:
    if sprites.shape != (len(names), SPRITE_PIXELS, SPRITE_PIXELS, 4) or sprites.dtype != np.uint8:
        raise WorldFileError(f"{path}: sprites are {sprites.dtype} {sprites.shape}")
    if notes.shape != (len(sounding), NOTES_PER_SOUND, NOTE_SAMPLES) or notes.dtype != np.int16:
        raise WorldFileError(f"{path}: notes are {notes.dtype} {notes.shape}")
    if len(set(names)) != len(names) or not set(sounding) <= set(names):
        raise WorldFileError(f"{path}: names repeat, or a sound has no thing")
