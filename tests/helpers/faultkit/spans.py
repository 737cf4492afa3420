"""Where the parts of a container lie: boxes, elements, chunks, blocks, pages.

A span is a part with its header. Ancestors come before what they hold, so a change inside can be
carried into the sizes around it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

NESTED = frozenset(
    b"moov trak mdia minf stbl dinf edts udta moof traf mvex meta".split()  # mp4
)
EBML_NESTED = frozenset(
    (0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1F43B675, 0xA0, 0x1C53BB6B, 0xBB)
)


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `end`, the payload from `body` on; its size field, if it has a plain one."""

    start: int
    body: int
    end: int
    size_at: int = -1
    size_format: str = ">I"


def spans_of(data: bytes) -> list[Span]:
    """The spans of a file of a known kind, else none."""
    for mark, at, find in KINDS:
        if data[at : at + len(mark)] == mark:
            try:
                return find(data)
            except (IndexError, struct.error):
                return []
    return []


def mp4(data: bytes, start: int = 0, end: int | None = None) -> list[Span]:
    found: list[Span] = []
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack(">I4s", data[start : start + 8])
        if size < 8 or start + size > end:
            break
        found.append(Span(start, start + 8, start + size, start))
        if kind in NESTED:
            found += mp4(data, start + (12 if kind == b"meta" else 8), start + size)
        start += size
    return found


def ebml(data: bytes, start: int = 0, end: int | None = None) -> list[Span]:
    found: list[Span] = []
    end = len(data) if end is None else end
    while start + 2 <= end:
        width = 9 - data[start].bit_length()
        if width > 4:
            break
        identity = int.from_bytes(data[start : start + width], "big")
        at = start + width
        size_width = 9 - data[at].bit_length()
        if size_width > 8:
            break
        size = int.from_bytes(data[at : at + size_width], "big") & ((1 << 7 * size_width) - 1)
        body = at + size_width
        stop = min(body + size, end)
        found.append(Span(start, body, stop))
        if identity in EBML_NESTED:
            found += ebml(data, body, stop)
        start = stop
    return found


def riff(data: bytes, start: int = 0, end: int | None = None) -> list[Span]:
    found: list[Span] = []
    end = len(data) if end is None else end
    while start + 8 <= end:
        name, size = struct.unpack("<4sI", data[start : start + 8])
        stop = min(start + 8 + size, end)
        found.append(Span(start, start + 8, stop, start + 4, "<I"))
        if name in (b"RIFF", b"LIST"):
            found += riff(data, start + 12, stop)
        start = stop + (size & 1)
    return found


def png(data: bytes) -> list[Span]:
    found: list[Span] = []
    start = 8
    while start + 12 <= len(data):
        size = struct.unpack(">I", data[start : start + 4])[0]
        found.append(Span(start, start + 8, start + 12 + size, start))
        start += 12 + size
    return found


def gif(data: bytes) -> list[Span]:
    found = [Span(0, 6, 13)]
    start = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while start < len(data) and data[start] in (0x21, 0x2C):
        body = start + 2
        if data[start] == 0x2C:
            flags = data[start + 9]
            body = start + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        stop = body
        while data[stop]:
            stop += 1 + data[stop]
        found.append(Span(start, body, stop + 1))
        start = stop + 1
    return found


def jpeg(data: bytes) -> list[Span]:
    found: list[Span] = []
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF:
        size = struct.unpack(">H", data[start + 2 : start + 4])[0]
        found.append(Span(start, start + 4, start + 2 + size, start + 2, ">H"))
        if data[start + 1] == 0xDA:
            break
        start += 2 + size
    return found


def ogg(data: bytes) -> list[Span]:
    found: list[Span] = []
    start = data.find(b"OggS")
    while start >= 0:
        stop = data.find(b"OggS", start + 4)
        found.append(Span(start, start + 27 + data[start + 26], len(data) if stop < 0 else stop))
        start = stop
    return found


def flac(data: bytes) -> list[Span]:
    found: list[Span] = []
    start = 4
    while start + 4 <= len(data):
        size = int.from_bytes(data[start + 1 : start + 4], "big")
        found.append(Span(start, start + 4, start + 4 + size))
        if data[start] & 0x80:
            break
        start += 4 + size
    return found


def repaired(data: bytes) -> bytes:
    """PNG's and Ogg's sums made right again, so that a change gets past them."""
    mended = bytearray(data)
    if data.startswith(b"\x89PNG"):
        for span in png(data):
            if span.end <= len(data):
                crc = zlib.crc32(data[span.start + 4 : span.end - 4])
                mended[span.end - 4 : span.end] = struct.pack(">I", crc)
    if data.startswith(b"OggS"):
        for span in ogg(data):
            page = bytearray(data[span.start : span.end])
            page[22:26] = b"\0\0\0\0"
            mended[span.start + 22 : span.start + 26] = struct.pack("<I", _ogg_sum(page))
    return bytes(mended)


def _ogg_sum(page: bytes) -> int:
    total = 0
    for byte in page:
        total ^= byte << 24
        for _ in range(8):
            total = (total << 1 ^ 0x04C11DB7 if total & 0x80000000 else total << 1) & 0xFFFFFFFF
    return total


KINDS: tuple[tuple[bytes, int, Callable[[bytes], list[Span]]], ...] = (
    (b"ftyp", 4, mp4),
    (b"\x1a\x45\xdf\xa3", 0, ebml),
    (b"RIFF", 0, riff),
    (b"\x89PNG", 0, png),
    (b"GIF8", 0, gif),
    (b"\xff\xd8\xff", 0, jpeg),
    (b"OggS", 0, ogg),
    (b"fLaC", 0, flac),
)
