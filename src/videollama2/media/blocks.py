"""GIF and PNG block by block: how many frames they hold, and whether their sums are right.

What decodes them counts frames by decoding, however many there are, and passes over sums that are
wrong. No decoder of pictures is involved here.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

from .errors import CorruptMediaError, TruncatedMediaError
from .limits import MediaLimits

PNG_MARK = b"\x89PNG\r\n\x1a\n"
LARGEST_CODE = 11
PIECE = 1 << 16
PACKED = (b"IDAT", b"fdAT")
CHECKED = (*PACKED, b"IHDR", b"PLTE", b"IEND", b"acTL", b"fcTL")


class CutError(Exception):
    """The file ends within a block."""


def gif_frames(file: BinaryIO, name: str, limits: MediaLimits) -> tuple[int, str | None]:
    """(Whole frames of a GIF, what is missing at its end).

    Raises CorruptMediaError at bytes that begin no block and at pictures outside of the screen,
    MediaTooLargeError at too many frames.
    """
    frames = 0
    try:
        header = _take(file, 13)
        width, height = _numbers(header[6:10])
        file.seek(_colours(header[10]), 1)
        while True:
            mark = _take(file, 1)
            if mark == b"\x3b":
                return frames, None
            if mark == b"\x2c":
                place = _take(file, 9)
                left, top, wide, high = _numbers(place[:8])
                if not frames:  # some writers leave the screen empty, and the first picture is it
                    width, height = max(width, left + wide), max(height, top + high)
                if left + wide > width or top + high > height:
                    raise CorruptMediaError(
                        name,
                        f"damaged: picture {frames} lies outside of the others",
                        "Copy it again",
                    )
                file.seek(_colours(place[8]), 1)
                if not 1 <= _take(file, 1)[0] <= LARGEST_CODE:
                    raise CorruptMediaError(
                        name, "damaged: a picture's codes have an impossible size", "Copy it again"
                    )
            elif mark == b"\x21":
                file.seek(1, 1)
            elif mark == b"\0":
                continue  # padding that some writers leave
            else:
                raise CorruptMediaError(
                    name, f"damaged: no block begins with {mark.hex()}", "Copy it again"
                )
            while length := _take(file, 1)[0]:
                _take(file, length)
            frames += mark == b"\x2c"
            limits.check_clip_frames(name, frames)
    except CutError:
        return frames, "its end mark is missing"


def _numbers(pairs: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(pairs[at : at + 2], "little") for at in range(0, len(pairs), 2))


def _colours(flags: int) -> int:
    """Bytes of a colour table."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def png_frames(file: BinaryIO, name: str, limits: MediaLimits) -> tuple[int, str | None]:
    """(Frames of an APNG, 0 for a still; what is missing of those that its header lists).

    Checks the sums of the chunks that pictures are made of, and of what is packed in them. Raises
    CorruptMediaError and TruncatedMediaError, MediaTooLargeError at too many frames.
    """
    kind, frames, listed, stream = b"", 0, 0, None
    file.seek(len(PNG_MARK))
    try:
        while kind != b"IEND":
            length, kind = int.from_bytes(_take(file, 4), "big"), _take(file, 4)
            if stream is not None and kind not in PACKED:
                stream.end()
                stream = None
            frames += kind == b"fcTL"
            limits.check_clip_frames(name, frames)
            if kind not in CHECKED:
                file.seek(length + 4, 1)
                continue
            if kind in PACKED and stream is None:
                stream = _Packed(name, file)
            head = _check_chunk(file, name, kind, length, stream)
            listed = int.from_bytes(head[:4], "big") if kind == b"acTL" else listed
    except CutError:
        raise TruncatedMediaError(
            name, "cut short: its last chunk is incomplete", "Copy it again", readable_frames=0
        ) from None
    return frames, f"its header lists {listed} frames" if listed > frames else None


class _Packed:
    """The pixels of one picture, unpacked to be checked and thrown away."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        here = file.tell()
        file.seek(16)
        width, height = (int.from_bytes(_take(file, 4), "big") for _ in range(2))
        file.seek(here)
        self._room = width * height * 8 + 16 * (height + 1)  # 16 bits, 4 channels, filter bytes
        self._name = name
        self._stream = zlib.decompressobj()

    def push(self, piece: bytes) -> None:
        """Unpack more."""
        while piece and not self._stream.eof:
            try:
                self._room -= len(self._stream.decompress(piece, PIECE))
            except zlib.error as error:
                raise self._damage() from error
            if self._room < 0:
                raise self._damage()
            piece = self._stream.unconsumed_tail

    def end(self) -> None:
        """There is no more."""
        while not self._stream.eof and (rest := self._stream.decompress(b"", PIECE)):
            self._room -= len(rest)
        if not self._stream.eof or self._room < 0:
            raise self._damage()

    def _damage(self) -> CorruptMediaError:
        return CorruptMediaError(
            self._name, "damaged: what is packed in it does not add up", "Copy it again"
        )


def _check_chunk(
    file: BinaryIO, name: str, kind: bytes, length: int, stream: _Packed | None
) -> bytes:
    """Read one chunk to its end: its first piece."""
    crc, left, first = zlib.crc32(kind), length, b""
    skip = 4 if kind == b"fdAT" else 0  # the sequence number
    while left:
        piece = _take(file, min(left, PIECE))
        first = first or piece
        left -= len(piece)
        crc = zlib.crc32(piece, crc)
        if kind in PACKED and stream is not None:
            stream.push(piece[skip:])
            skip = 0
    if crc != int.from_bytes(_take(file, 4), "big"):
        raise CorruptMediaError(
            name,
            f"damaged: the sum of a chunk ({kind!r}) is wrong",
            "Copy it again",
        )
    return first


def _take(file: BinaryIO, count: int) -> bytes:
    piece = file.read(count)
    if len(piece) < count:
        raise CutError
    return piece
