"""A clip of any length, window by window, in one pass: memory holds one window."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .audio import Sound, stream_audio
from .colour import RgbConverter
from .containers import audio_stream, open_container, read_only, video_stream
from .decoder import prepare
from .errors import CorruptMediaError, UnsupportedMediaError
from .limits import DEFAULT_LIMITS, MediaLimits
from .source import Source, open_source
from .timeline import frame_rate
from .video import VideoClip

if TYPE_CHECKING:
    from av.container.input import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SAMPLING_RATE = 16_000


@dataclass(frozen=True, eq=False)
class Window:
    """What lies between two seconds: `clip` its frames, `sound` its sound; either may be None.

    `duration_s` is the whole clip's, where its header says it.
    """

    index: int
    start_s: float
    end_s: float
    duration_s: float | None
    clip: VideoClip | None
    sound: Sound | None


@dataclass(frozen=True)
class _Plan:
    """Where windows begin and end: `count` of them where the length is known."""

    every_s: float
    duration_s: float | None

    @property
    def count(self) -> int | None:
        """A rest shorter than half a window belongs to the one before."""
        if self.duration_s is None:
            return None
        return max(math.floor(self.duration_s / self.every_s + 0.5), 1)

    def span(self, index: int) -> tuple[float, float]:
        start = index * self.every_s
        if self.duration_s is not None and self.count is not None and index >= self.count - 1:
            return start, max(self.duration_s, start)
        return start, start + self.every_s


def read_windows(
    value: object,
    *,
    every_s: float,
    num_frames: int,
    with_sound: bool = True,
    first: int = 0,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> Iterator[Window]:
    """Windows of `every_s` seconds from number `first` on, `num_frames` frames of each.

    Frames are those shown at the middles of equal segments, which for a constant frame rate are
    `uniform_indices` of the window's frames; the sound is 16 kHz mono. Pictures and sound are
    decoded once, in order, each by a demuxer of its own. What is damaged is left out, and the
    windows say so.

    Raises a MediaError: missing, empty, no medium, stills, too large; ValueError for a window that
    is not longer than nothing.
    """
    if not every_s > 0 or num_frames < 1:
        raise ValueError(f"windows of {every_s} s with {num_frames} frames: both are above 0")
    source = open_source(value, limits=limits)
    if source.frames is not None or source.is_folder:
        raise UnsupportedMediaError(source.name, "frames have no clock", "Pass a video or sound")
    has_video, has_audio, duration_s = _streams(source, limits)
    plan = _Plan(every_s, duration_s)
    pictures = _Pictures(source, plan, num_frames, first, limits) if has_video else None
    heard = _Heard(source, plan, first, limits) if has_audio and with_sound else None
    try:
        yield from _windows(plan, pictures, heard, first)
    finally:
        if pictures is not None:
            pictures.close()


def _windows(
    plan: _Plan, pictures: _Pictures | None, heard: _Heard | None, first: int
) -> Iterator[Window]:
    index = first
    while plan.count is None or index < plan.count:
        start, end = plan.span(index)
        sound = heard.between(start, end) if heard else None
        clip = pictures.between(index) if pictures else None
        if clip is None and sound is None:
            ended = (pictures is None or pictures.ended) and (heard is None or heard.ended)
            if ended:  # shorter than its header says, or of unknown length
                return
        yield Window(index, start, end, plan.duration_s, clip, sound)
        index += 1


def _streams(source: Source, limits: MediaLimits) -> tuple[bool, bool, float | None]:
    with open_container(source, limits) as container:
        video = video_stream(container, source.name, limits)
        audio = audio_stream(container, source.name, limits)
        if video is None and audio is None:
            raise CorruptMediaError(source.name, "it has neither pictures nor sound", "Pass a clip")
        duration_s = container.duration / 1_000_000 if container.duration else None
        if video is not None:
            limits.check_frames(source.name, video.width, video.height, 1)
            if video.duration and video.time_base and audio is None:
                duration_s = float(video.duration * video.time_base)
        limits.check_duration(source.name, duration_s or 0.0)
        return video is not None, audio is not None, duration_s


class _Heard:
    """The sound, cut where windows end."""

    def __init__(self, source: Source, plan: _Plan, first: int, limits: MediaLimits) -> None:
        self.ended = False
        self._name = source.name
        self._pieces = stream_audio(source, SAMPLING_RATE, limits)
        self._rest = np.empty(0, np.int16)
        skipped = round(plan.span(first)[0] * SAMPLING_RATE)
        while skipped and not self.ended:
            skipped -= len(self._take(min(skipped, SAMPLING_RATE)))

    def between(self, start: float, end: float) -> Sound | None:
        wanted = round(end * SAMPLING_RATE) - round(start * SAMPLING_RATE)
        samples = self._take(wanted)
        if not len(samples):
            return None
        waveform = samples.astype(np.float32) / np.float32(32768.0)
        return Sound(self._name, waveform, SAMPLING_RATE, len(waveform) / SAMPLING_RATE)

    def _take(self, count: int) -> NDArray[np.int16]:
        pieces, have = [self._rest], len(self._rest)
        while have < count and not self.ended:
            piece = next(self._pieces, None)
            if piece is None:
                self.ended = True
                break
            pieces.append(piece)
            have += len(piece)
        samples = np.concatenate(pieces)
        self._rest = samples[count:].copy()
        return samples[:count]


@dataclass
class _Shown:
    """The frames of one window as they are found."""

    times: list[float]
    frames: list[NDArray[np.uint8]] = field(default_factory=list[NDArray[np.uint8]])
    shown_s: list[float] = field(default_factory=list[float])


class _Pictures:
    """The frames, chosen as they pass: one decoded frame is held, and those of the window."""

    def __init__(
        self, source: Source, plan: _Plan, num_frames: int, first: int, limits: MediaLimits
    ) -> None:
        self.ended = False
        self._name = source.name
        self._plan = plan
        self._num_frames = num_frames
        self._damaged = 0
        self._fps = 25.0
        self._to_rgb = RgbConverter()
        self._frames = self._decode(source, plan.span(first)[0], limits)
        self._held: tuple[float, VideoFrame] | None = None

    def close(self) -> None:
        """Close the file: the generator and this object hold each other."""
        self._held = None
        self._frames.close()

    def between(self, index: int) -> VideoClip | None:
        """The frames of window `index`; None where there are none."""
        if self._held is None and not self.ended:
            self._advance()
        start, end = self._plan.span(index)
        shown = _Shown(self._times(start, end))
        before = self._damaged
        while shown.times and self._held is not None:
            at, frame = self._held
            if at >= end:
                break
            following = self._advance()
            until = at + 1.5 / self._fps if following is None else following[0]
            while shown.times and shown.times[0] < until:
                shown.times.pop(0)
                if until > start:
                    shown.frames.append(self._to_rgb(frame))
                    shown.shown_s.append(at)
        if not shown.frames:
            return None
        damaged = self._damaged - before
        return VideoClip(
            self._name,
            shown.frames,
            tuple(round(at * self._fps) for at in shown.shown_s),
            tuple(shown.shown_s),
            self._fps,
            end - start,
            (f"{damaged} damaged packets of video are left out",) if damaged else (),
        )

    def _times(self, start: float, end: float) -> list[float]:
        """Seconds at which a frame is taken: between two frames, so that rounding is no matter."""
        frame_s = min(1 / self._fps, end - start)
        step = (end - start - frame_s) / self._num_frames
        return [start + frame_s / 2 + step * (place + 0.5) for place in range(self._num_frames)]

    def _advance(self) -> tuple[float, VideoFrame] | None:
        self._held = next(self._frames, None)
        self.ended = self._held is None
        return self._held

    def _decode(
        self, source: Source, start: float, limits: MediaLimits
    ) -> Generator[tuple[float, VideoFrame]]:
        """(seconds from the clip's beginning, frame) from `start` on, damaged packets left out."""
        import av.error

        with open_container(source, limits) as container:
            stream = video_stream(container, source.name, limits)
            if stream is None:
                return
            read_only(container, stream)
            prepare(stream, limits, threads=False)
            self._fps = float(frame_rate(stream))
            base = float(stream.time_base or 0) or 1 / self._fps
            origin: int | None = stream.start_time
            if start:
                _seek(container, stream, (origin or 0) + int(start / base))
            number = 0
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                    frames = [] if packet is None else packet.decode()
                except av.error.EOFError:
                    return
                except av.error.FFmpegError:
                    self._damaged += 1
                    if self._damaged > 100_000:
                        return
                    continue
                if packet is None:
                    return
                for frame in frames:
                    pts = frame.pts
                    if pts is None:
                        at = number / self._fps
                    else:
                        origin = pts if origin is None else origin
                        at = (pts - origin) * base
                    number += 1
                    if at >= start - 1 / self._fps:
                        yield at, frame


def _seek(container: InputContainer, stream: VideoStream, offset: int) -> None:
    """To the keyframe before; where that fails decoding begins at the beginning."""
    import av.error

    try:
        container.seek(offset, stream=stream)
    except av.error.FFmpegError:
        return
