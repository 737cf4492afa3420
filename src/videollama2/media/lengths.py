"""Where the rarer containers say in their header that they end: one function a container.

Each takes the open file, its first bytes and its size, and gives the size that the header promises,
or None where it promises none.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

PACKET = 192
"""Bytes of a packet of an M2TS file: 4 of time, then a transport stream's 188."""
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
IS_BROADCAST = 1


def promised_length(file: BinaryIO, head: bytes, size: int) -> int | None:
    """The size that the header promises, of W64, CAF, VOC, ASF, FLV, MXF and M2TS files."""
    for at, mark, length in KINDS:
        if head[at : at + len(mark)] == mark:
            try:
                return length(file, head, size)
            except struct.error:  # the header itself is cut: what opens the file will say so
                return None
    return None


def _w64(file: BinaryIO, head: bytes, size: int) -> int | None:
    """Sony Wave64: `riff` as a GUID, then the size of the whole file."""
    length = struct.unpack_from("<Q", head, 16)[0]
    return None if length in (0, 2**63 - 1, 2**64 - 1) else length


def _caf(file: BinaryIO, head: bytes, size: int) -> int | None:
    """Apple's CAF: chunks of a name and a size; -1 is a size not yet known."""
    at = 8
    while at + 12 <= size:
        file.seek(at)
        _, length = struct.unpack(">4sq", file.read(12))
        if length < 0:
            return None
        at += 12 + length
    return at


def _voc(file: BinaryIO, head: bytes, size: int) -> int | None:
    """Creative Voice: blocks of a kind and a 24-bit size, the kind 0 ends."""
    at = struct.unpack_from("<H", head, 20)[0]
    while at + 4 <= size:
        file.seek(at)
        word = struct.unpack("<I", file.read(4))[0]
        if word & 0xFF == 0:
            return at + 1
        at += 4 + (word >> 8)
    return at if at > size else None


def _asf(file: BinaryIO, head: bytes, size: int) -> int | None:
    """ASF (WMA, WMV): the File Properties Object, unless it was written while broadcasting."""
    at = head.find(ASF_FILE_PROPERTIES)
    if at < 0:
        return None
    length, flags = struct.unpack_from("<Q40xI", head, at + 40)
    return None if flags & IS_BROADCAST or length == 0 else length


def _flv(file: BinaryIO, head: bytes, size: int) -> int | None:
    """FLV: `filesize`, a number of its onMetaData."""
    at = head.find(b"filesize\0")
    length = 0.0 if at < 0 else struct.unpack_from(">d", head, at + 9)[0]
    return int(length) if 0 < length < 2**62 else None


def _mxf(file: BinaryIO, head: bytes, size: int) -> int | None:
    """MXF: the header partition says where the footer begins, the last thing in the file."""
    form = head[16] if len(head) > 16 else 0
    value = 17 + (form & 0x7F if form & 0x80 else 0)
    footer = struct.unpack_from(">Q", head, value + 24)[0]
    return footer + 1 if 0 < footer < 2**62 else None


def _m2ts(file: BinaryIO, head: bytes, size: int) -> int | None:
    """M2TS: whole packets."""
    if head[4 + PACKET : 5 + PACKET] != b"\x47" or head[4 + 2 * PACKET : 5 + 2 * PACKET] != b"\x47":
        return None
    return -(-size // PACKET) * PACKET


Length = Callable[[BinaryIO, bytes, int], int | None]
KINDS: tuple[tuple[int, bytes, Length], ...] = (
    (0, b"riff\x2e\x91\xcf\x11", _w64),
    (0, b"caff", _caf),
    (0, b"Creative Voice File\x1a", _voc),
    (0, bytes.fromhex("3026b2758e66cf11"), _asf),
    (0, b"FLV\x01", _flv),
    (0, bytes.fromhex("060e2b34020501010d01020101"), _mxf),
    (4, b"\x47", _m2ts),
)
