"""The frames of a video stream in presentation order, found by demuxing alone (no decoding)."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .limits import MediaLimits
from .packets import ReadAhead

if TYPE_CHECKING:
    from av.container.input import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

INDEXED = ("mov", "avi")
"""Containers whose header lists every packet, so that missing ones can be counted."""


TOLERANCE = 0.05
"""How far a header's average rate may be from the measured one."""


@dataclass(frozen=True)
class Timeline:
    """What a pass over the packets tells; times in units of `time_base`.

    `pts` (N,) presentation times of the shown frames, ascending; empty where the file gives none
    (`is_timed` False: frames must then be counted by decoding). `key_pts` and `key_dts` (K,) are
    the keyframes', ascending by pts. `packets` counts whole packets, `promised` those that the
    container's index lists (0: no index); `is_damaged`: the demuxer met an error or cut packet.
    """

    pts: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    key_dts: NDArray[np.int64]
    time_base: Fraction
    rate: Fraction
    packets: int
    promised: int
    is_timed: bool
    is_damaged: bool
    last_duration: int

    @property
    def num_frames(self) -> int:
        """Frames shown."""
        return len(self.pts)

    @property
    def duration_s(self) -> float:
        """From the first frame's start to the last one's end."""
        if not len(self.pts):
            return 0.0
        ticks = int(self.pts[-1]) - int(self.pts[0])
        last = self.last_duration * self.time_base if self.last_duration else 1 / self.rate
        return float(ticks * self.time_base + last)

    def time_s(self, index: int) -> float:
        """Seconds from the first frame to frame `index`."""
        return float((int(self.pts[index]) - int(self.pts[0])) * self.time_base)


def scan(
    container: InputContainer,
    stream: VideoStream,
    name: str,
    limits: MediaLimits,
    ahead: ReadAhead[VideoStream] | None = None,
) -> Timeline:
    """Read every packet's times once; the container is at its end afterwards.

    `ahead` keeps the packets that pass.

    Frames that the container hides (edit lists, VP8's invisible ones) are not counted. Raises
    MediaTooLargeError where there are more than `limits` allow.
    """
    import av.error

    promised = len(stream.index_entries) if _is_indexed(container) else 0
    is_vp8 = stream.codec_context.name == "vp8"
    shown, key_pts, key_dts = array("q"), array("q"), array("q")
    packets, untimed, last_duration, is_damaged = 0, 0, 0, False
    decoded = array("q")
    try:
        for packet in ahead.first_pass() if ahead else container.demux(stream):
            if packet.size == 0 and packet.pts is None and packet.dts is None:
                continue
            if packet.is_corrupt:
                is_damaged = True
                continue
            packets += 1
            if packets > limits.max_clip_frames:
                limits.check_clip_frames(name, packets)
            if packet.dts is not None:
                decoded.append(packet.dts)
            if packet.pts is None:
                untimed += 1
                continue
            if packet.is_keyframe:
                key_pts.append(packet.pts)
                key_dts.append(packet.pts if packet.dts is None else packet.dts)
            if packet.is_discard or packet.size == 0 or (is_vp8 and _is_hidden(packet)):
                continue
            if not shown or packet.pts > shown[-1]:
                last_duration = packet.duration or 0
            shown.append(packet.pts)
    except av.error.FFmpegError:
        is_damaged = True
    pts = np.sort(np.asarray(shown, dtype=np.int64))
    if key_pts:
        # Pictures before the first keyframe (a stream cut in an open group) cannot be decoded.
        pts = pts[pts >= key_pts[0]]
    order = np.argsort(np.asarray(key_pts, dtype=np.int64), kind="stable")
    is_timed = packets > 0 and untimed == 0 and bool((np.diff(pts) > 0).all())
    return Timeline(
        pts=pts,
        key_pts=np.asarray(key_pts, dtype=np.int64)[order],
        key_dts=np.asarray(key_dts, dtype=np.int64)[order],
        time_base=stream.time_base or Fraction(1, 1000),
        rate=_true_rate(stream, pts if is_timed else np.asarray(decoded, dtype=np.int64)),
        packets=packets,
        promised=promised,
        is_timed=is_timed,
        is_damaged=is_damaged,
        last_duration=last_duration,
    )


def frame_rate(stream: VideoStream) -> Fraction:
    """Average frames a second, else the guessed rate, else 25."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and rate > 0:
            return rate
    return Fraction(25)


def _true_rate(stream: VideoStream, times: NDArray[np.int64]) -> Fraction:
    """Give the header's average rate, or the measured one where the header is far off."""
    rate = frame_rate(stream)
    if len(times) < 2 or not stream.time_base or times[-1] <= times[0]:
        return rate
    measured = (len(times) - 1) / (int(times[-1] - times[0]) * stream.time_base)
    # One frame more or less is no news: a short clip's average is coarse.
    slack = TOLERANCE + 2 / len(times)
    return rate if abs(rate / measured - 1) <= slack else measured.limit_denominator(1_000_000)


def _is_indexed(container: InputContainer) -> bool:
    return any(name in INDEXED for name in container.format.name.split(","))


def _is_hidden(packet: Packet[VideoStream]) -> bool:
    """VP8: bit 4 of the first byte says whether the frame is shown (RFC 6386, section 9.1)."""
    return packet.size > 0 and not memoryview(packet)[0] & 0x10
