"""Small files that ask for much: hours of sound, acres of pixels, frames without end, packed nests.

Built by hand, as no encoder would write them.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from .seeds import all_seeds
from .spans import png as png_spans
from .spans import repaired

MB = 1_000_000
TWO_FRAMES_OF_60_MS = bytes([3 << 3 | 1])
"""An Opus packet of one byte: two frames of 60 ms, nothing in them (RFC 6716, section 3.1)."""


@dataclass(frozen=True)
class Bomb:
    """`make` gives the bytes; `kind` is how they are sent; `code` is the refusal."""

    name: str
    kind: str
    code: str
    make: Callable[[], bytes]


def opus_in_ogg(size: int = 25 * MB) -> bytes:
    """A page holds 255 packets of a byte: 30.6 s in 537 bytes, 395 hours in 25 MB."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 0, 48_000, 0, 0)
    tags = b"OpusTags" + struct.pack("<II", 0, 0)
    pages = [
        repaired(_page(2, 0, 0, bytes([len(head)]), head)),
        repaired(_page(0, 0, 1, bytes([len(tags)]), tags)),
    ]
    sums = _page_sums(_page(0, 0, 0, b"\x01" * 255, TWO_FRAMES_OF_60_MS * 255))
    body = b"\x01" * 255 + TWO_FRAMES_OF_60_MS * 255
    for index in range(size // 537):
        place = struct.pack("<q", (index + 1) * 255 * 5760)
        number = struct.pack("<I", index + 2)
        total = sums[None, 0]
        for at, byte in (*enumerate(place, 6), *enumerate(number, 18)):
            for bit in range(8):
                if byte >> bit & 1:
                    total ^= sums[at, bit]
        head = b"OggS\0\0" + place + b"\x01\0\0\0" + number + struct.pack("<I", total) + b"\xff"
        pages.append(head + body)
    return b"".join(pages)


def _page(flags: int, place: int, number: int, lengths: bytes, body: bytes) -> bytes:
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, place, 1, number, 0, len(lengths))
    return head + lengths + body


def _page_sums(page: bytes) -> dict[tuple[int | None, int], int]:
    """The sum of a page, and what each bit of its place and number adds to it (it is linear)."""
    whole = struct.unpack("<I", repaired(page)[22:26])[0]
    sums: dict[tuple[int | None, int], int] = {(None, 0): whole}
    for at in (*range(6, 14), *range(18, 22)):
        for bit in range(8):
            changed = bytearray(page)
            changed[at] ^= 1 << bit
            sums[at, bit] = whole ^ struct.unpack("<I", repaired(bytes(changed))[22:26])[0]
    return sums


def opus_in_webm(size: int = 25 * MB) -> bytes:
    """Clusters of 255 such packets after a header that promises 1.2 s."""
    whole = next(seed.data for seed in all_seeds() if seed.name == "webm")
    head = _sound_only(whole[: whole.index(b"\x1f\x43\xb6\x75")])
    blocks = b"".join(
        b"\xa3\x85\x82" + struct.pack(">hB", index * 120, 0x80) + TWO_FRAMES_OF_60_MS
        for index in range(255)
    )
    clusters = []
    for index in range(size // (len(blocks) + 20)):
        inside = b"\xe7\x88" + struct.pack(">Q", index * 30_600) + blocks
        clusters.append(b"\x1f\x43\xb6\x75" + struct.pack(">I", len(inside) | 0x10000000) + inside)
    return head + b"".join(clusters)


def _sound_only(head: bytes) -> bytes:
    """The segment's length is made unknown, so that it ends where the file does."""
    at = head.index(b"\x18\x53\x80\x67") + 4
    return head[:at] + b"\x01" + b"\xff" * 7 + head[at + 8 :]


def flac_of_silence(size: int = 25 * MB) -> bytes:
    """FLAC's header leaves the length open; each frame is 4096 samples of one value."""
    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format="flac") as out:
        stream = out.add_stream("flac", rate=48_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4608 * 100), np.int16), format="s16",
                                           layout="mono")  # fmt: skip
        frame.sample_rate = 48_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    data = file.getvalue()
    return data + data[-14 * 40 :] * (size // (14 * 40))


def png(
    width: int = 65_535, height: int = 65_535, packed: bytes = zlib.compress(b"\0" * MB)
) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def png_that_unpacks_to_more() -> bytes:
    """64 x 64 pixels by its header, 5 GB of them packed."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(50 * MB)) for _ in range(20)) + packer.flush()
    return png(64, 64, packed)


def png_with_a_packed_profile() -> bytes:
    """A colour profile of 1 GB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(50 * MB)) for _ in range(20)) + packer.flush()
    body = b"x\0\0" + packed
    chunk = (
        struct.pack(">I", len(body))
        + b"iCCP"
        + body
        + struct.pack(">I", zlib.crc32(b"iCCP" + body))
    )
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    whole = file.getvalue()
    at = png_spans(whole)[0].end
    return whole[:at] + chunk + whole[at:]


def gif_of_a_million_frames(frames: int = 1_000_000) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return head + frame * frames + b"\x3b"


def gif_of_a_large_ground() -> bytes:
    """10,000 frames of one pixel on 16,000 x 1000: 480 GB to go through."""
    few = gif_of_a_million_frames(10_000)
    return few[:6] + struct.pack("<HH", 16_000, 1_000) + few[10:]


def boxes_in_boxes() -> bytes:
    """Two million boxes, each in the one before."""
    head = next(seed.data for seed in all_seeds() if seed.name == "mp4")[:32]
    return head + b"\0\0\0\0moov" + b"\0\0\0\0trak" * 2_000_000


def elements_in_elements() -> bytes:
    head = next(seed.data for seed in all_seeds() if seed.name == "webm")
    at = head.index(b"\x18\x53\x80\x67")
    return head[:at] + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"\xae\x01" + b"\xff" * 7 * 2_000_000


def packed_header() -> bytes:
    """A QuickTime header, packed: 2 GB of zeros in 2 MB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(50 * MB)) for _ in range(40)) + packer.flush()
    inside = struct.pack(">I4sI", 12, b"dcom", 0)[:8] + b"zlib"
    body = struct.pack(">I4sI", len(packed) + 12, b"cmvd", 2000 * MB) + packed
    compressed = struct.pack(">I4s", 8 + len(inside) + len(body), b"cmov") + inside + body
    return (
        struct.pack(">I4s4sI4s", 20, b"ftyp", b"qt  ", 0, b"qt  ")
        + struct.pack(">I4s", 8 + len(compressed), b"moov")
        + compressed
    )


BOMBS = (
    Bomb("25 MB of Opus, 395 hours (Ogg)", "audio", "media_too_large", opus_in_ogg),
    Bomb("25 MB of Opus, the header lies (WebM)", "audio", "media_too_large", opus_in_webm),
    Bomb("25 MB of silence (FLAC)", "audio", "media_too_large", flac_of_silence),
    Bomb("65,535 x 65,535 pixels (PNG)", "image", "media_too_large", png),
    Bomb("1 GB of pixels for 64 x 64 (PNG)", "image", "media_corrupt", png_that_unpacks_to_more),
    Bomb("a packed profile of 1 GB (PNG)", "image", "", png_with_a_packed_profile),
    Bomb("1,000,000 frames (GIF)", "video", "media_too_large", gif_of_a_million_frames),
    Bomb("a large ground (GIF)", "video", "media_too_large", gif_of_a_large_ground),
    Bomb("two million boxes in each other (MP4)", "video", "", boxes_in_boxes),
    Bomb("elements in each other (WebM)", "video", "", elements_in_elements),
    Bomb("a packed header of 2 GB (QuickTime)", "video", "media_unsupported", packed_header),
)
