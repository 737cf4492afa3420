"""Whether a file holds as many bytes as its own length fields promise. No decoder involved."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

from .lengths import promised_length
from .source import Source

UNKNOWN_SIZE = 0x7FFFF000
"""Sizes from here on are what writers to a pipe leave behind: no promise."""


def shortfall(source: Source) -> str | None:
    """Say what is missing at the end of `source`, or None where nothing is known to be missing.

    Knows RIFF (WAV, AVI), RF64, AIFF, Matroska and WebM, MP4 and QuickTime, Ogg, MPEG transport
    streams, MP3 with a Xing header, and those of `lengths`. Other formats promise no length.
    """
    if source.data is None and (source.path is None or source.is_folder):
        return None
    if source.data is not None:
        return _shortfall(io.BytesIO(source.data), len(source.data))
    if source.path is None:
        return None
    with source.path.open("rb") as file:
        return _shortfall(file, source.size)


def _shortfall(file: BinaryIO, size: int) -> str | None:
    head = file.read(4096)
    promised: int | None = None
    if head[:4] in (b"RIFF", b"RF64", b"BW64"):
        promised = _riff(file, head, size)
    elif head[:4] == b"FORM" and len(head) >= 8:
        promised = 8 + struct.unpack(">I", head[4:8])[0]
        promised = promised if promised <= size + 1 or promised < UNKNOWN_SIZE else None
        promised = size if promised == size + 1 else promised
    elif head[:4] == b"\x1a\x45\xdf\xa3":
        promised = _matroska(head)
    elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"):
        promised = _boxes(file, size)
    elif head[:4] == b"OggS":
        return _ogg(file, size)
    elif head[:1] == b"\x47" and head[188:189] == b"\x47" and head[376:377] == b"\x47":
        promised = -(-size // 188) * 188
    elif head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
        promised = _xing(file, head)
    else:
        promised = promised_length(file, head, size)
    if promised is not None and promised > size:
        return f"it holds {size} of the {promised} bytes that its header promises"
    return None


def _riff(file: BinaryIO, head: bytes, size: int) -> int | None:
    """Where the largest chunk promises to end (RIFF's own size is often left unwritten)."""
    if len(head) < 12:
        return size + 1
    wide = head[:4] != b"RIFF"
    is_wave = head[8:12] == b"WAVE"
    length = struct.unpack("<I", head[4:8])[0]
    ends = size
    if not is_wave and not wide and length < UNKNOWN_SIZE:
        ends = length + 8
    at, data_size = 12, None
    while at + 8 <= size:
        file.seek(at)
        name, chunk = struct.unpack("<4sI", file.read(8))
        if name == b"ds64":
            data_size = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
        if name == b"data" and wide and data_size is not None and chunk == 0xFFFFFFFF:
            chunk = data_size
        elif chunk >= UNKNOWN_SIZE:
            break
        at += 8 + chunk
        # The padding byte after an odd chunk is often forgotten at the very end.
        ends = max(ends, at)
        if name in (b"data",):
            break
        at += chunk & 1
    if is_wave and at > size and ends == size:
        return size + 1
    return size if ends == size + 1 and not is_wave else ends


def _number(data: bytes, at: int) -> tuple[int, int, bool]:
    """An EBML variable-length size at `at`: (value, bytes used, unknown).

    Raises IndexError where there is none: it would take more than eight bytes, or the data end.
    """
    first = data[at]
    width = 9 - first.bit_length()
    if width > 8:
        raise IndexError("no size begins with eight zero bits")
    value = first & ((1 << (8 - width)) - 1)
    for byte in data[at + 1 : at + width]:
        value = value << 8 | byte
    return value, width, value == (1 << (7 * width)) - 1


def _matroska(head: bytes) -> int | None:
    try:
        length, width, _ = _number(head, 4)
        at = 4 + width + length
        if head[at : at + 4] != b"\x18\x53\x80\x67":
            return None
        length, width, unknown = _number(head, at + 4)
    except IndexError:
        return None
    return None if unknown else at + 4 + width + length


def _boxes(file: BinaryIO, size: int) -> int | None:
    """Walk the top-level boxes: where the last one promises to end."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        header = file.read(16)
        length, kind = struct.unpack(">I4s", header[:8])
        if not kind.isalnum() and kind not in (b"\xa9xyz", b"meta", b"free"):
            return None
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        elif length == 0:
            return None
        if length < 8:
            return None
        at += length
    return at


def _ogg(file: BinaryIO, size: int) -> str | None:
    """Look at the last page: whole, and marked as the end of its stream."""
    window = min(size, 2 * 65_307)
    file.seek(size - window)
    tail = file.read(window)
    at = tail.rfind(b"OggS")
    if at < 0 or at + 27 > len(tail):
        return "its last Ogg page is incomplete"
    segments = tail[at + 26]
    lengths = tail[at + 27 : at + 27 + segments]
    if len(lengths) < segments or at + 27 + segments + sum(lengths) > len(tail):
        return "its last Ogg page is incomplete"
    if not tail[at + 5] & 4:
        return "its last Ogg page is not marked as the end"
    return None


def _xing(file: BinaryIO, head: bytes) -> int | None:
    """MP3 with a Xing or Info header: where the sound promises to end."""
    start = 0
    if head[:3] == b"ID3" and len(head) >= 10:
        a, b, c, d = head[6:10]
        start = 10 + (a << 21 | b << 14 | c << 7 | d)
    file.seek(start)
    frame = file.read(512)
    for mark in (b"Xing", b"Info"):
        at = frame.find(mark, 4, 64)
        if at >= 0 and len(frame) >= at + 16:
            flags = struct.unpack(">I", frame[at + 4 : at + 8])[0]
            if flags & 2:
                field = at + 8 + 4 * (flags & 1)
                return start + struct.unpack(">I", frame[field : field + 4])[0]
    return None
