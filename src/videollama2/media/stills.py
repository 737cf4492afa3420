"""Clips that are pictures in a row: folders, lists, arrays, GIFs; a still image is one frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import CorruptMediaError, EmptyMediaError, MediaNotFoundError, TruncatedMediaError
from .image import (
    as_rgb,
    check_allowed,
    frames_in,
    is_picture,
    open_picture,
    picture_kind,
    picture_size,
    read_picture,
)
from .limits import MediaLimits
from .source import Picture, Source

FOLDER_FPS = 3.0
"""The released convention for a folder of frames (TVQA's)."""
GIF_FPS = 25.0
"""The released convention for a GIF, whatever delays it holds."""
PICTURE_NAMES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm")


@dataclass(frozen=True)
class Stills:
    """A clip of pictures. `fps` None: no clock. `missing`: what is cut off at its end."""

    name: str
    total: int
    fps: float | None
    size: tuple[int, int]
    read: Callable[[list[int], MediaLimits], dict[int, NDArray[np.uint8]]]
    missing: str | None = None
    notes: tuple[str, ...] = ()


def open_stills(source: Source, limits: MediaLimits) -> Stills | None:
    """The clip as pictures, or None where `source` is a video or sound file."""
    if source.frames:
        return _of_frames(source.name, source.frames, limits)
    if source.is_folder:
        return _of_folder(source, limits)
    if is_picture(source.head(64)):
        return _of_file(source, limits)
    return None


def _of_frames(name: str, frames: Sequence[Picture], limits: MediaLimits) -> Stills:
    def read(indices: list[int], limits: MediaLimits) -> dict[int, NDArray[np.uint8]]:
        return {index: read_picture(frames[index], limits) for index in indices}

    return Stills(name, len(frames), None, picture_size(frames[0], limits), read)


def _of_folder(source: Source, limits: MediaLimits) -> Stills:
    if source.path is None:
        raise EmptyMediaError(source.name, "not a folder", "Pass a folder")
    try:
        names = sorted(entry.name for entry in source.path.iterdir() if entry.is_file())
    except OSError as error:
        raise MediaNotFoundError(
            source.name, f"the folder cannot be listed ({error.strerror})", "Check its rights"
        ) from error
    pictures = [name for name in names if name.lower().endswith(PICTURE_NAMES)]
    folder = source.path
    if not pictures:
        raise EmptyMediaError(
            source.name, "the folder holds no pictures", "Put frames as .jpg or .png there"
        )

    def read(indices: list[int], limits: MediaLimits) -> dict[int, NDArray[np.uint8]]:
        return {index: read_picture(folder / pictures[index], limits) for index in indices}

    others = len(names) - len(pictures)
    notes = (f"{others} files of the folder are no pictures: left out",) if others else ()
    size = picture_size(folder / pictures[0], limits)
    return Stills(source.name, len(pictures), FOLDER_FPS, size, read, notes=notes)


def _of_file(source: Source, limits: MediaLimits) -> Stills:
    """One picture, or all frames of a GIF, APNG or animated WebP."""
    check_allowed(source, limits)
    total, missing = frames_in(source, limits)
    if picture_kind(source.head(64)) == "JPEG":
        total = 1  # what else a camera puts in (MPO) are previews, depth maps, another eye's view
    with open_picture(source, limits) as image:
        size = image.size
        if total is None:
            # Counting the frames of a damaged file raises; then count those that can be reached.
            try:
                total = int(getattr(image, "n_frames", 1))
            except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
                total, missing = 1, f"damaged ({error})"
    limits.check_animation(source.name, *size, total)
    if missing is not None:
        total = _count(source, limits, total)
    if total == 0:
        raise TruncatedMediaError(
            source.name, "cut short: 0 frames can be read", "Copy it again", readable_frames=0
        )

    def read(indices: list[int], limits: MediaLimits) -> dict[int, NDArray[np.uint8]]:
        return _read_frames(source, indices, limits)

    if total == 1:
        return Stills(source.name, 1, None, size, read, missing)
    notes = ("an animated picture counts as 25 frames a second, as released for GIFs",)
    return Stills(source.name, total, GIF_FPS, size, read, missing, notes)


def _count(source: Source, limits: MediaLimits, most: int) -> int:
    """How many frames can really be decoded."""
    count = 0
    try:
        with open_picture(source, limits) as image:
            while count < most:
                image.seek(count)
                image.load()
                count += 1
    except (CorruptMediaError, TruncatedMediaError):
        return count
    return count


def _read_frames(
    source: Source, indices: list[int], limits: MediaLimits
) -> dict[int, NDArray[np.uint8]]:
    pictures: dict[int, NDArray[np.uint8]] = {}
    with open_picture(source, limits) as image:
        for index in indices:
            if index:
                image.seek(index)
            pictures[index] = as_rgb(image)
    return pictures
