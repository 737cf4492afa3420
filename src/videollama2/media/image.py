"""Still pictures: one, or the frames of a GIF, through Pillow."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .blocks import PNG_MARK, gif_frames, png_frames
from .errors import (
    CorruptMediaError,
    EmptyMediaError,
    MediaTooLargeError,
    TruncatedMediaError,
    UnsupportedMediaError,
)
from .limits import DEFAULT_LIMITS, MediaLimits
from .source import Picture, Source, open_source

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, PNG_MARK, "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"P5", "PPM"),
    (0, b"P6", "PPM"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (0, b"\0\0\0\x0cjP  ", "JPEG2000"),
)
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")


def is_picture(head: bytes) -> bool:
    """Whether these first bytes are those of a picture file (not of a video or sound)."""
    return picture_kind(head) is not None


def picture_kind(head: bytes) -> str | None:
    """The kind of picture that begins so, as Pillow calls it."""
    return next((kind for at, mark, kind in SIGNATURES if head[at : at + len(mark)] == mark), None)


@contextmanager
def open_picture(source: Source, limits: MediaLimits) -> Generator[Image.Image, None, None]:
    """Open a picture file, its pixels not yet decoded; what goes wrong becomes a MediaError."""
    name = source.name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = io.BytesIO(source.data) if source.data is not None else source.path
            if file is None:
                raise UnsupportedMediaError(name, "not an encoded picture", "Pass a file")
            image = Image.open(file, formats=limits.pictures or FORMATS)
            with image:
                limits.check_frames(name, image.width, image.height, 1)
                yield image
    except Image.UnidentifiedImageError as error:
        raise CorruptMediaError(
            name, "not a picture that can be read", "Pass a PNG or JPEG file"
        ) from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # where Pillow itself refuses to go on
        raise MediaTooLargeError(name, f"over {most} pixels", "Make it smaller") from error
    except (OSError, SyntaxError, EOFError, struct.error, IndexError, MemoryError) as error:
        raise _damage(name, error) from error
    except (ValueError, TypeError, KeyError, OverflowError, ZeroDivisionError) as error:
        if isinstance(error, (CorruptMediaError, TruncatedMediaError)) or hasattr(error, "remedy"):
            raise
        raise _damage(name, error) from error


def check_allowed(source: Source, limits: MediaLimits) -> None:
    """Raise UnsupportedMediaError for a kind of picture that is not read here."""
    if limits.pictures is None:
        return
    kind = picture_kind(source.head(64))
    if kind not in limits.pictures:
        raise UnsupportedMediaError(
            source.name, f"pictures of the kind {kind} are not read here", "Convert it to PNG"
        )


def frames_in(source: Source, limits: MediaLimits) -> tuple[int | None, str | None]:
    """(Frames of a GIF or PNG, what is missing), its blocks checked; (None, None) for others.

    Raises a MediaError: damaged, cut short, too many frames.
    """
    head = source.head(8)
    find = gif_frames if head[:4] == b"GIF8" else png_frames if head == PNG_MARK else None
    if find is None:
        return None, None
    if source.data is not None:
        frames, missing = find(io.BytesIO(source.data), source.name, limits)
    elif source.path is not None:
        with source.path.open("rb") as file:
            frames, missing = find(file, source.name, limits)
    else:
        return None, None
    if find is gif_frames or missing is not None:
        return frames, missing
    return None, None


def _damage(name: str, error: BaseException) -> CorruptMediaError | TruncatedMediaError:
    if "truncated" in str(error).lower():
        return TruncatedMediaError(name, f"cut short ({error})", "Copy it again", readable_frames=0)
    return CorruptMediaError(name, f"damaged ({error})", "Copy it again")


def as_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Upright by EXIF, then (H, W, 3) uint8 RGB as Pillow converts (alpha is dropped)."""
    turned = ImageOps.exif_transpose(image)
    if turned.mode in ("I;16", "I;16B", "I;16L"):
        # Pillow clips 16-bit grey to 255; keep its upper byte.
        grey = (np.asarray(turned).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(turned.convert("RGB"), dtype=np.uint8)


def picture_size(picture: Picture, limits: MediaLimits) -> tuple[int, int]:
    """Width and height of one frame, from its header."""
    if isinstance(picture, np.ndarray):
        return picture.shape[1], picture.shape[0]
    if isinstance(picture, Image.Image):
        return picture.size
    with open_picture(open_source(picture, limits=limits), limits) as image:
        return image.size


def read_picture(picture: Picture, limits: MediaLimits) -> NDArray[np.uint8]:
    """One frame as (H, W, 3) uint8 RGB."""
    if isinstance(picture, np.ndarray):
        return picture
    if isinstance(picture, Image.Image):
        return as_rgb(picture)
    source = open_source(picture, limits=limits)
    frames_in(source, limits)
    with open_picture(source, limits) as image:
        return as_rgb(image)


def read_image(value: object, *, limits: MediaLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Read one picture as (H, W, 3) uint8 RGB, upright by its EXIF orientation.

    Alpha is dropped as Pillow's `convert("RGB")` does. Raises a MediaError: missing, empty,
    truncated, corrupt, too large, or more than one frame given.
    """
    source = open_source(value, limits=limits)
    if source.frames is not None:
        if len(source.frames) != 1:
            raise UnsupportedMediaError(
                source.name, f"{len(source.frames)} frames are no single image", "Pass one"
            )
        return read_picture(source.frames[0], limits)
    if source.is_folder:
        raise UnsupportedMediaError(source.name, "a folder is no image", "Pass a file of it")
    if not is_picture(source.head(64)):
        raise CorruptMediaError(
            source.name, "not a picture that can be read", "Pass a PNG or JPEG file"
        )
    check_allowed(source, limits)
    frames_in(source, limits)
    with open_picture(source, limits) as image:
        rgb = as_rgb(image)
    if rgb.size == 0:
        raise EmptyMediaError(source.name, "the picture has no pixels", "Pass another file")
    return rgb
