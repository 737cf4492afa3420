"""Decode chosen frames of a video stream: seek to the keyframe before each, then forward.

Within a group of pictures the decoder is reused. Damage is noticed (the decoder runs in its
strict mode) and everything that hangs on the damaged picture counts as unreadable.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .containers import STRICT, open_container, read_only, video_stream
from .errors import NoVideoStreamError
from .limits import MediaLimits
from .source import Source
from .timeline import Timeline

if TYPE_CHECKING:
    from av.container.input import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SEEK_COST = 8
"""Frames that could be decoded in the time that a seek and a refilled decoder take."""
SMALL_PIXELS = 100_000
"""Below so many a picture, starting threads takes longer than they save."""


class DamageError(Exception):
    """The decoder met damage before it reached the wanted frame."""


class FalseKeyframeError(DamageError):
    """The picture that decoding began at builds on others, whatever the index says."""


THREADED = frozenset(("h264", "hevc", "vp8", "vp9", "av1", "libdav1d"))
"""Decoders whose frame threads tell of damage, if late: others are quick enough without."""
MOST_THREADS = 4


def prepare(stream: VideoStream, limits: MediaLimits, *, threads: bool) -> bool:
    """Set the decoder up, strict about damage; whether it has frame threads, if wanted.

    H.264 marks a damaged picture when it has gone through it. A picture that is given out while
    another thread is still at it may lack the mark, so none is before as many others have begun.
    """
    context = stream.codec_context
    options = {**STRICT, "max_pixels": str(limits.max_pixels)}
    count = min(_processors(), MOST_THREADS)
    threads = threads and count > 1 and context.codec.name in THREADED
    context.thread_type = "FRAME" if threads else "NONE"
    context.thread_count = count if threads else 1
    if threads and context.codec.name == "h264":
        options["has_b_frames"] = str(count)
    context.options = options
    return threads


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


FORGIVING = frozenset(
    ("mpeg4", "h263", "h263p", "h263i", "flv", "mpeg1video", "mpeg2video", "msmpeg4", "msmpeg4v1",
     "msmpeg4v2", "wmv1", "wmv2", "svq1", "svq3", "rv10", "rv20", "vp6", "vp6f", "vp6a")
)  # fmt: skip
"""Decoders that take a picture without the one that it builds on, and paint on grey."""


class LostPlaceError(Exception):
    """The container cannot be wound back to its beginning."""


@dataclass(frozen=True, eq=False)
class Opened:
    """An open container, its main video stream, not decoded yet, and all of its packets."""

    container: InputContainer
    stream: VideoStream
    packets: list[Packet[VideoStream]]


class FrameDecoder:
    """A running decoder over an open container. `frame_at` wants ascending times.

    With `packets`, all of the stream's, the container is not read again.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        timeline: Timeline,
        wanted: frozenset[int],
        *,
        threads: bool,
        packets: list[Packet[VideoStream]] | None = None,
    ) -> None:
        self._container = container
        self._kept = packets
        self._stream = stream
        self._timeline = timeline
        # In H.264 a picture that is no reference is one for nobody: leave it out on the way.
        self._skips = stream.codec_context.name == "h264" and bool(wanted)
        self._wanted = wanted
        self._has_threads = threads
        self._trusts_index = True
        self._packets: Iterator[Packet[VideoStream]] = iter(())
        self._ready: list[VideoFrame] = []
        self._group = -1  # the keyframe last sent to the decoder; -1: none
        self._fed: int | None = None  # latest time sent to the decoder
        self._from: int | None = None  # time of the keyframe that decoding began at
        self._is_open = False
        self._is_fresh = True
        self._is_forgiving = stream.codec_context.codec.name in FORGIVING
        self._is_first = False  # no frame has come since decoding began at a keyframe

    def frame_at(self, pts: int) -> VideoFrame | None:
        """Decode the frame shown at `pts`; None where the decoder never gives it out.

        Raises DamageError where damage stands before it in its group of pictures.
        """
        group = max(int(np.searchsorted(self._timeline.key_pts, pts, side="right")) - 1, 0)
        if self._is_open and not self._seek_pays(group, pts):
            frame = self._forward_to(pts)
            if frame is not None:
                return frame
        # A decoder that needs more than one keyframe to recover (periodic intra refresh) gives
        # nothing at first: then start further back, at last from the very beginning.
        damage: DamageError | None = None
        for start in dict.fromkeys((group, group - 1, group - 3, 0)):
            if start < 0:
                continue
            self._start(start)
            try:
                frame = self._forward_to(pts)
            except FalseKeyframeError as error:
                damage = error
                continue
            except DamageError as error:
                # Missing references look like damage: once, a group further back may know them.
                if damage is not None or group == 0:
                    raise
                damage = error
                continue
            if frame is not None:
                return frame
        if damage is not None:
            raise damage
        return None

    def _seek_pays(self, group: int, pts: int) -> bool:
        if self._fed is None or group <= self._group or not self._trusts_index:
            return False
        here, key = np.searchsorted(
            self._timeline.pts, [self._fed, int(self._timeline.key_pts[group])]
        )
        return int(key) - int(here) > SEEK_COST

    def _start(self, group: int) -> None:
        """Place the demuxer at keyframe `group` and the decoder at its beginning."""
        self._is_open, self._fed, self._ready, self._from = True, None, [], None
        self._is_first = True
        keys = self._timeline.key_pts
        if not len(keys):
            self._rewind()
            return
        key, order = int(keys[group]), int(self._timeline.key_dts[group])
        self._from = key
        if self._kept is not None:
            self._rewind()
            self._skip_to(key)
            self._group = group
            return
        for offset in (order, key):
            if self._land(offset, key, order):
                self._group = group
                return
        self._rewind()
        self._skip_to(key)
        self._group = group

    def _rewind(self) -> None:
        import av.error

        if self._kept is not None:
            self._stream.codec_context.flush_buffers()
            self._packets, self._group = iter(self._kept), 0
            return
        first = min(
            (int(times[0]) for times in (self._timeline.pts, self._timeline.key_dts) if len(times)),
            default=0,
        )
        try:
            self._container.seek(min(first, 0), stream=self._stream)
        except av.error.FFmpegError as error:
            if not self._is_fresh:
                raise LostPlaceError from error
        self._is_fresh = False
        self._packets = self._container.demux(self._stream)
        self._group = 0

    def _land(self, offset: int, key: int, order: int) -> bool:
        """Seek; True where the wanted keyframe is the next packet."""
        import av.error

        try:
            self._container.seek(offset, stream=self._stream)
            self._is_fresh = False
            self._packets = self._container.demux(self._stream)
            return self._skip_to(key, order)
        except av.error.FFmpegError:
            return False

    def _skip_to(self, key: int, order: int | None = None) -> bool:
        """Leave packets out until the keyframe `key`; False where the seek went past it."""
        for packet in self._packets:
            if packet.pts == key and packet.is_keyframe:
                self._packets = _chain(packet, self._packets)
                return True
            if order is not None and packet.dts is not None and packet.dts > order:
                return False
        return False

    def _pop_ready(self, pts: int) -> VideoFrame | None:
        """The frame at `pts`, or one after it (which stays), from those that are decoded.

        Raises DamageError where it, or what it may build on, is marked as damaged.
        """
        while self._ready:
            frame = self._ready[0]
            if frame.pts is not None and frame.pts > pts:
                return frame
            self._ready.pop(0)
            if frame.is_corrupt and (frame.pts == pts or self._is_needed(frame.pts, pts)):
                self._is_open = False
                raise DamageError("a picture is marked as damaged")
            if frame.pts == pts:
                return frame
        return None

    def _forward_to(self, pts: int) -> VideoFrame | None:
        import av.error

        while True:
            frame = self._pop_ready(pts)
            if frame is not None:
                return frame if frame.pts == pts else None
            packet = next(self._packets, None)
            if packet is None:
                return None
            if packet.pts is not None and self._from is not None and packet.pts < self._from:
                continue  # leading picture of an open group: needs the group before, never wanted
            if packet.is_keyframe and packet.pts is not None:
                keys = self._timeline.key_pts
                self._group = max(int(np.searchsorted(keys, packet.pts, side="right")) - 1, 0)
            if packet.pts is not None:
                self._fed = packet.pts if self._fed is None else max(self._fed, packet.pts)
            if self._skips:
                is_wanted = packet.pts is None or packet.pts in self._wanted
                self._stream.codec_context.skip_frame = "DEFAULT" if is_wanted else "NONREF"
            try:
                if packet.is_corrupt:
                    raise DamageError("a packet is damaged")
                self._ready = packet.decode()
                self._check_first()
            except FalseKeyframeError:
                self._is_open = False
                raise
            except (av.error.FFmpegError, DamageError) as error:
                self._is_open = False
                frame = self._drain(pts, packet)
                if frame is not None:
                    return frame
                raise DamageError(str(error)) from error

    def _is_needed(self, at: int | None, pts: int) -> bool:
        """Whether the picture at `pts` may build on the one at `at`."""
        keys = self._timeline.key_pts
        key = max(int(np.searchsorted(keys, pts, side="right")) - 1, 0)
        return at is None or not len(keys) or at >= int(keys[key])

    def _check_first(self) -> None:
        """Raise FalseKeyframeError where decoding began at no keyframe."""
        from av.video.frame import PictureType

        if not self._is_first or not self._ready:
            return
        self._is_first = False
        builds = (PictureType.P, PictureType.B, PictureType.S)
        if self._is_forgiving and self._ready[0].pict_type in builds:
            self._ready = []
            self._trusts_index = False
            raise FalseKeyframeError("the picture that decoding began at is no keyframe")

    def _drain(self, pts: int, damaged: Packet[VideoStream]) -> VideoFrame | None:
        """Get from the decoder what was whole before the damage, if `pts` is among it."""
        import av.error

        if self._has_threads:
            return None  # an error comes late then, and what follows the damage comes with it
        try:
            rest = self._stream.decode(None)  # pyright: ignore[reportUnknownMemberType]
        except av.error.FFmpegError:
            return None
        for frame in rest:
            if frame.pts == pts and pts != damaged.pts and not frame.is_corrupt:
                return frame
        return None


def _chain(
    first: Packet[VideoStream], rest: Iterator[Packet[VideoStream]]
) -> Iterator[Packet[VideoStream]]:
    yield first
    yield from rest


def decode_at(
    source: Source,
    timeline: Timeline,
    times: Sequence[int],
    limits: MediaLimits,
    opened: Opened | None = None,
) -> Iterator[tuple[int, VideoFrame | None]]:
    """Decode the frames shown at `times` (ascending): (time, frame or None where unreadable).

    Starts with frame threads, unless pictures are small. At the first damage it goes on without,
    where it is certain which packet the damage is in and what was whole before it. `opened` saves
    opening the source once more.
    """
    left = list(times)
    is_lost = False
    for is_first in (True, False):
        if is_lost:
            break
        with nullcontext(opened) if opened else _open(source, limits) as found:
            opened = None
            stream = found.stream
            is_large = stream.width * stream.height >= SMALL_PIXELS
            threads = prepare(stream, limits, threads=is_first and is_large)
            decoder = FrameDecoder(
                found.container,
                stream,
                timeline,
                frozenset(times),
                threads=threads,
                packets=found.packets or None,
            )
            while left:
                try:
                    frame = decoder.frame_at(left[0])
                except LostPlaceError:
                    is_lost = True
                    break
                except DamageError:
                    if threads:
                        break
                    frame = None
                yield left.pop(0), frame
            if not left:
                return
    for frame in decode_in_order(source, limits):
        if not left:
            return
        if frame is None:
            break
        if frame.pts == left[0]:
            yield left.pop(0), frame
    for time in left:
        yield time, None


@contextmanager
def _open(source: Source, limits: MediaLimits) -> Generator[Opened]:
    with open_container(source, limits) as container:
        stream = video_stream(container, source.name, limits)
        if stream is None:
            raise NoVideoStreamError(source.name, "it has no video stream", "Pass a video")
        read_only(container, stream)
        yield Opened(container, stream, [])


def decode_in_order(source: Source, limits: MediaLimits) -> Iterator[VideoFrame | None]:
    """Decode every frame in presentation order; None once, at the end, where damage stops it."""
    import av.error

    with _open(source, limits) as opened:
        stream = opened.stream
        prepare(stream, limits, threads=False)
        try:
            for packet in opened.container.demux(stream):
                for frame in packet.decode():
                    if frame.is_corrupt:
                        yield None
                        return
                    yield frame
        except av.error.FFmpegError:
            yield None
