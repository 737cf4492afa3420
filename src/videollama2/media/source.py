"""A path, URL, bytes or frames -> one `Source` that every reader takes."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import (
    EmptyMediaError,
    MediaNotFoundError,
    UnsupportedMediaError,
)
from .fetch import fetch
from .limits import DEFAULT_LIMITS, MediaLimits

Picture: TypeAlias = "NDArray[np.uint8] | Image.Image | Path"
"""One frame as given: an array (H, W, 3), a Pillow image, or the path of a picture."""

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):(//)?")


@dataclass(frozen=True)
class Source:
    """A medium, not yet decoded: exactly one of `path`, `data` and `frames` is set.

    `name` is what errors and reports call it. `path` may be a folder of pictures.
    """

    name: str
    path: Path | None = None
    data: bytes | None = None
    frames: tuple[Picture, ...] | None = None

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder of pictures."""
        return self.path is not None and self.path.is_dir()

    @property
    def size(self) -> int:
        """Bytes of the encoded medium; 0 for frames and folders."""
        if self.data is not None:
            return len(self.data)
        if self.path is not None and not self.path.is_dir():
            return self.path.stat().st_size
        return 0

    def head(self, count: int = 4096) -> bytes:
        """Read the first `count` bytes of the encoded medium."""
        if self.data is not None:
            return self.data[:count]
        if self.path is None or self.path.is_dir():
            return b""
        with self.path.open("rb") as file:
            return file.read(count)


def open_source(value: object, *, limits: MediaLimits = DEFAULT_LIMITS) -> Source:
    """Find out what `value` is, fetch it where it is an address, and check that it is there.

    `value`: a path (str or os.PathLike; a folder is a folder of frames), an http(s) URL, a `data:`
    or `file:` URI, bytes, a binary file object, an array (H, W, 3) or (T, H, W, 3) of uint8 (or
    with its channels first), a Pillow image, a list of arrays, Pillow images or paths, or a Source
    (returned as it is).
    Raises MediaNotFoundError, EmptyMediaError, MediaTooLargeError, MediaFetchError and
    UnsupportedMediaError.
    """
    if isinstance(value, Source):
        return value
    if isinstance(value, str):
        return _from_text(value, limits)
    if isinstance(value, os.PathLike):
        return _from_path(Path(cast("os.PathLike[str]", value)), limits)
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(cast("bytes", value))
        limits.check_bytes("bytes", len(data), in_memory=True)
        return _from_bytes("bytes", data)
    if isinstance(value, Image.Image):
        return Source("image", frames=(value,))
    if isinstance(value, np.ndarray):
        return _from_array(cast("NDArray[Any]", value))
    if isinstance(value, (list, tuple)):
        return _from_list(cast("Sequence[object]", value), limits)
    if hasattr(value, "read"):
        return _from_file(cast("BinaryIO", value), limits)
    raise UnsupportedMediaError(
        type(value).__name__,
        "not a kind of medium that can be read",
        "Pass a path, a URL, bytes, an array of frames or a list of pictures",
    )


def _from_text(text: str, limits: MediaLimits) -> Source:
    if not text:
        raise MediaNotFoundError("''", "the path is empty", "Pass the path of a file")
    scheme = SCHEME.match(text)
    kind = scheme.group(1).lower() if scheme else ""
    if kind in ("http", "https"):
        name, data = fetch(text, limits)
        return _from_bytes(name, data)
    if kind == "data":
        return _from_data_uri(text, limits)
    if kind == "file":
        address = urlsplit(text)
        if address.netloc not in ("", "localhost"):
            raise UnsupportedMediaError(
                text, "a file: URI of another machine", "Pass a path on this machine"
            )
        return _from_path(Path(unquote(address.path)), limits)
    if scheme and scheme.group(2) and not Path(text).exists():
        raise UnsupportedMediaError(
            text, f"addresses of the kind {kind}:// are not read", "Pass a path or an http(s) URL"
        )
    if "\0" in text:
        raise MediaNotFoundError(repr(text), "no path holds a zero byte", "Pass a path")
    return _from_path(Path(text), limits)


def _from_path(path: Path, limits: MediaLimits) -> Source:
    name = str(path)
    if not limits.allow_files:
        raise UnsupportedMediaError(
            name, "files of this machine are not read here", "Pass bytes or a URL"
        )
    try:
        path = path.expanduser()
        if path.is_dir():
            return Source(name, path=path)
        if not path.exists():
            raise MediaNotFoundError(name, "there is no such file", "Check the path")
        if not path.is_file():
            raise UnsupportedMediaError(name, "not a regular file", "Pass a file or a folder")
        size = path.stat().st_size
        if size == 0:
            raise EmptyMediaError(name, "the file is empty (0 bytes)", "Copy or record it again")
        limits.check_bytes(name, size)
        with path.open("rb"):
            pass
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaNotFoundError(name, f"cannot be opened ({reason})", "Check the path") from error
    return Source(name, path=path)


def _from_bytes(name: str, data: bytes) -> Source:
    if not data:
        raise EmptyMediaError(name, "there are no bytes", "Pass the bytes of a whole file")
    return Source(name, data=data)


def _from_file(file: BinaryIO, limits: MediaLimits) -> Source:
    name = str(getattr(file, "name", "file object"))
    data = file.read(limits.max_memory_bytes + 1)
    if not isinstance(data, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UnsupportedMediaError(name, "the file object gives text", "Open it in binary mode")
    limits.check_bytes(name, len(data), in_memory=True)
    return _from_bytes(name, data)


def _from_data_uri(text: str, limits: MediaLimits) -> Source:
    head, comma, body = text.partition(",")
    name = f"{head[:60]},..."
    if not comma:
        raise UnsupportedMediaError(
            name, "a data: URI without a comma", "Write data:<type>;base64,<bytes>"
        )
    if head.lower().endswith(";base64"):
        limits.check_bytes(name, len(body) * 3 // 4, in_memory=True)
        data = _from_base64(body, name)
    else:
        try:
            data = unquote_to_bytes(body)
        except UnicodeEncodeError as error:
            raise UnsupportedMediaError(
                name, "it holds what is no text (lone surrogates)", "Encode the bytes with base64"
            ) from error
    limits.check_bytes(name, len(data), in_memory=True)
    return _from_bytes(name, data)


def _from_base64(text: str, name: str) -> bytes:
    """The bytes; escapes, spaces and missing padding pass, but cost a few copies."""
    with suppress(ValueError):
        return binascii.a2b_base64(text, strict_mode=True)
    packed = re.sub(r"\s+", "", unquote(text)).rstrip("=")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except ValueError as error:
        raise UnsupportedMediaError(
            name, f"not valid base64 ({error})", "Encode the bytes with base64"
        ) from error


def _from_array(array: NDArray[Any]) -> Source:
    if array.ndim in (3, 4) and array.shape[-1] != 3 and array.shape[-3] == 3:
        array = np.moveaxis(array, -3, -1)
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[-1] != 3:
        raise UnsupportedMediaError(
            "array",
            f"shape {array.shape} of {array.dtype} is not (T, H, W, 3) or (H, W, 3) of uint8",
            "Pass RGB frames as uint8",
        )
    frames = array[None] if array.ndim == 3 else array
    if 0 in frames.shape:
        raise EmptyMediaError("array", f"shape {array.shape} holds no frame", "Pass frames")
    return Source("array", frames=tuple(frames))


def _from_list(values: Sequence[object], limits: MediaLimits) -> Source:
    if not values:
        raise EmptyMediaError("list", "there is no frame in it", "Pass at least one frame")
    frames: list[Picture] = []
    for value in values:
        source = open_source(value, limits=limits)
        if source.frames is not None:
            frames.extend(source.frames)
        elif source.path is not None and not source.is_folder:
            frames.append(source.path)
        else:
            raise UnsupportedMediaError(
                source.name,
                "a list of frames takes arrays, Pillow images and paths of pictures",
                "Pass several media one by one",
            )
    return Source("frames", frames=tuple(frames))
