"""GIF and PNG block by block, and other damage that decoders pass over in silence."""

from __future__ import annotations

import io
import re
import struct
import zlib
from contextlib import suppress
from dataclasses import replace

import av
import av.error
import numpy as np
import pytest
from faultkit import bombs
from faultkit.seeds import all_seeds
from faultkit.spans import mp4, png, repaired
from media_clips import picture, write_clip
from PIL import Image

from videollama2.media import (
    DEFAULT_LIMITS,
    CorruptMediaError,
    MediaTooLargeError,
    TruncatedMediaError,
    UnsupportedMediaError,
    decoder,
    read_audio,
    read_image,
    read_video,
)

SEEDS = {seed.name: seed.data for seed in all_seeds()}


def encoded(kind: str, frames: int = 1, **options: object) -> bytes:
    file = io.BytesIO()
    images = [Image.fromarray(picture(index, 32, 24)) for index in range(frames)]
    images[0].save(file, kind, append_images=images[1:], save_all=frames > 1, **options)
    return file.getvalue()


def with_body(data: bytes, kind: bytes, body: bytes) -> bytes:
    """Another body for a PNG's chunk, its sum made right."""
    span = next(one for one in png(data) if data[one.start + 4 : one.body] == kind)
    chunk = struct.pack(">I", len(body)) + kind + body + b"sum?"
    return repaired(data[: span.start] + chunk + data[span.end :])


@pytest.mark.parametrize("frames", [1, 3])
def test_a_png_whose_sums_are_wrong_is_damaged(frames: int) -> None:
    whole = encoded("PNG", frames)
    read = read_image if frames == 1 else read_video
    read(whole)
    for span in png(whole):
        kind = whole[span.start + 4 : span.body]
        broken = bytearray(whole)
        broken[span.end - 1] ^= 1
        if kind in (b"IHDR", b"IDAT", b"fdAT", b"fcTL", b"acTL", b"IEND"):
            with pytest.raises(CorruptMediaError):
                read(bytes(broken))


def test_what_a_png_packs_has_to_add_up() -> None:
    whole = encoded("PNG")
    body = next(
        whole[s.body : s.end - 4] for s in png(whole) if whole[s.start + 4 : s.body] == b"IDAT"
    )
    for wrong in (body[:-4] + b"\0\0\0\0", body[:-20], zlib.compress(b"\0" * 10**6)):
        with pytest.raises(CorruptMediaError):
            read_image(with_body(whole, b"IDAT", wrong))
    with pytest.raises(TruncatedMediaError):
        read_image(whole[:-30])


def test_an_apng_that_lists_more_frames_than_it_has() -> None:
    whole = encoded("PNG", 3)
    listed = with_body(whole, b"acTL", struct.pack(">II", 10**6, 0))
    with pytest.raises(TruncatedMediaError):
        read_video(listed)
    assert read_video(listed, allow_partial=True).notes


def test_a_gif_with_bytes_that_begin_no_block() -> None:
    whole = encoded("GIF", 3)
    assert len(read_video(whole, num_frames=3).frames) == 3
    read_video(whole[:-1] + b"\0\0\x3b")  # padding, as some writers leave it
    with pytest.raises(CorruptMediaError):
        read_video(whole[:-1] + b"GIF89a" + whole[-1:])
    with pytest.raises(TruncatedMediaError):
        read_video(whole[:-40])


def test_a_gif_whose_picture_lies_outside_of_the_screen() -> None:
    whole = encoded("GIF", 3)
    places = [found.end() for found in re.finditer(rb"\x21\xf9\x04.{4}\0\x2c", whole, re.DOTALL)]
    top = slice(places[-1] + 2, places[-1] + 4)
    with pytest.raises(CorruptMediaError, match="picture 2 lies outside"):
        read_video(whole[: top.start] + b"\x7f\xff" + whole[top.stop :])
    without_a_screen = whole[:6] + bytes(4) + whole[10:]  # as some writers leave it
    shown, expected = (read_video(data, num_frames=3) for data in (without_a_screen, whole))
    assert all((a == b).all() for a, b in zip(shown.frames, expected.frames, strict=True))


@pytest.mark.parametrize("frames", [60_000, 1_000_000])
def test_frames_are_counted_without_decoding(frames: int) -> None:
    limits = replace(DEFAULT_LIMITS, max_clip_frames=50_000)
    with pytest.raises(MediaTooLargeError, match="50000"):
        read_video(bombs.gif_of_a_million_frames(frames), limits=limits)


def test_a_clip_of_too_many_frames(tmp_path) -> None:
    clip = write_clip(tmp_path / "a.mp4", frames=40)
    read_video(clip, limits=replace(DEFAULT_LIMITS, max_clip_frames=40))
    with pytest.raises(MediaTooLargeError):
        read_video(clip, limits=replace(DEFAULT_LIMITS, max_clip_frames=39))


def test_sound_is_refused_by_its_packets_where_the_header_lies() -> None:
    limits = replace(DEFAULT_LIMITS, max_duration_s=1800.0)
    for make in (bombs.opus_in_ogg, bombs.opus_in_webm, bombs.flac_of_silence):
        with pytest.raises(MediaTooLargeError):
            read_audio(make(400_000), limits=limits)
    with pytest.raises(MediaTooLargeError, match="channels"):
        read_audio(SEEDS["wav"], limits=replace(DEFAULT_LIMITS, max_decoded_samples=16_000))


def test_packed_headers_are_refused(tmp_path) -> None:
    data = bombs.packed_header()
    (tmp_path / "a.mov").write_bytes(data)
    for source in (data, tmp_path / "a.mov"):
        with pytest.raises(UnsupportedMediaError, match="packed"):
            read_video(source)


def test_an_index_without_keyframes_does_not_lead_to_grey_pictures() -> None:
    """Without it all frames count as keyframes; MPEG-4's decoder paints on grey from anywhere."""
    whole = SEEDS["mpeg4.mp4"]
    at = whole.index(b"stss")
    broken = whole[:at] + b"free" + whole[at + 4 :]
    assert any(broken[span.start + 4 : span.body] == b"free" for span in mp4(broken))
    for count in (3, 4, 12):
        good, found = (read_video(data, num_frames=count) for data in (whole, broken))
        assert found.indices == good.indices
        for one, other in zip(good.frames, found.frames, strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_follows_a_damaged_keyframe_is_damaged(tmp_path) -> None:
    """Decoding in threads tells of damage late, when pictures after it are there already."""
    clip = write_clip(tmp_path / "a.mkv", frames=30, gop=10, size=(320, 240))
    whole = from_the_beginning(clip.read_bytes())
    data = clip.read_bytes()
    assert len(whole) == 30
    for at in range(len(data) // 3, len(data), len(data) // 60):
        broken = data[:at] + bytes(64) + data[at + 64 :]
        try:
            found = read_video(broken, num_frames=7)
        except CorruptMediaError:
            continue
        except (TruncatedMediaError, UnsupportedMediaError):
            continue
        plain = from_the_beginning(broken)
        for time_s, frame in zip(found.timestamps_s, found.frames, strict=True):
            at_s = round(time_s, 3)  # numbers may differ: the container can lose pictures too
            assert near(frame, whole.get(at_s)) or near(frame, plain.get(at_s))


def test_no_picture_is_given_out_while_a_thread_is_at_it(tmp_path, monkeypatch) -> None:
    """H.264 would not have marked it as damaged yet."""
    monkeypatch.setattr(decoder, "_processors", lambda: 3)
    clip = write_clip(tmp_path / "a.mkv", frames=30, gop=10, options={"bf": "0"})
    with av.open(clip) as container:
        stream = container.streams.video[0]
        assert decoder.prepare(stream, DEFAULT_LIMITS, threads=True)
        fed = 0
        for packet in container.demux(stream):
            fed += 1
            if packet.decode():
                break
    assert fed > 3 + 2  # the pictures that wait in order, and those in the other threads


def near(frame: np.ndarray, other: np.ndarray | None) -> bool:
    return other is not None and bool(np.abs(frame.astype(int) - other.astype(int)).mean() < 1)


def from_the_beginning(data: bytes) -> dict[float, np.ndarray]:
    """Pictures by their seconds, until the first that is marked as damaged."""
    found: dict[float, np.ndarray] = {}
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        with suppress(av.error.FFmpegError):
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    break
                found[round(frame.time, 3)] = frame.to_ndarray(format="rgb24")
    return found


def test_codecs_and_kinds_of_picture_that_are_not_on_the_list() -> None:
    limits = replace(DEFAULT_LIMITS, codecs=frozenset(("h264", "aac")), pictures=("PNG",))
    read_video(SEEDS["mp4"], limits=limits)
    read_audio(SEEDS["mp4"], limits=limits)
    read_image(SEEDS["png"], limits=limits)
    for name in ("mpeg4.mp4", "webm", "gif"):
        with pytest.raises(UnsupportedMediaError):
            read_video(SEEDS[name], limits=limits)
    for name in ("mov", "wav"):
        with pytest.raises(UnsupportedMediaError):
            read_audio(SEEDS[name], limits=limits)
    with pytest.raises(UnsupportedMediaError):
        read_image(SEEDS["jpg"], limits=limits)
