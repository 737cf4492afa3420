"""Frames of a clip, chosen by number: whatever the clip comes as."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .colour import RgbConverter
from .containers import open_container, read_only, video_stream
from .decoder import Opened, decode_at, decode_in_order
from .errors import (
    CorruptMediaError,
    EmptyMediaError,
    EmptyRangeError,
    NoVideoStreamError,
    TruncatedMediaError,
    UnsupportedMediaError,
)
from .integrity import shortfall
from .limits import DEFAULT_LIMITS, MediaLimits
from .packets import ReadAhead
from .sampling import MAX_FRAMES, fps_indices, frame_range, uniform_indices
from .source import Source, open_source
from .stills import Stills, open_stills
from .timeline import Timeline, scan

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

PARTIAL = "Copy or record it again, or pass allow_partial (--allow-partial)"


@dataclass(frozen=True)
class VideoClip:
    """Sampled frames.

    `frames`: one (H, W, 3) uint8 RGB array for each of `indices` (frame numbers of the clip in
    presentation order; they repeat where the clip is shorter than asked). `timestamps_s`: their
    seconds from the clip's first frame. `fps` and `duration_s` are the whole clip's. Frames given
    one by one (arrays, lists) have no clock: `fps` and `duration_s` are None and `timestamps_s` is
    empty. `notes` says in words what was left out or done differently.
    """

    name: str
    frames: list[NDArray[np.uint8]]
    indices: tuple[int, ...]
    timestamps_s: tuple[float, ...]
    fps: float | None
    duration_s: float | None
    notes: tuple[str, ...] = ()


def read_video(
    value: object,
    *,
    num_frames: int | None = 8,
    start: float | None = None,
    end: float | None = None,
    allow_partial: bool = False,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> VideoClip:
    """Read `num_frames` uniformly spread frames (None: one a second, the first 32).

    `value`: anything `open_source` takes. `start` and `end` in seconds, turned into frame numbers
    by the released rule (`frame_range`; folders count as 3 and GIFs as 25 frames a second).
    Arrays and lists are used as they are, the first 32 frames of them. `allow_partial` answers
    from what can be read of a damaged or truncated file and says so in `notes`.

    Raises a MediaError: missing, empty, truncated, corrupt, without video, too large, or a range
    that holds nothing (start after end, start not before the clip's end).
    """
    if num_frames is not None and num_frames < 1:
        raise ValueError(f"num_frames must be at least 1, got {num_frames}")
    source = open_source(value, limits=limits)
    _check_range(source.name, start, end)
    stills = open_stills(source, limits)
    if stills is not None:
        return _read_stills(stills, num_frames, start, end, allow_partial, limits)
    with open_container(source, limits) as container:
        stream = video_stream(container, source.name, limits)
        if stream is None:
            raise NoVideoStreamError(
                source.name, "it has no video stream", "Pass it as sound, or pass a video"
            )
        limits.check_frames(source.name, stream.width, stream.height, num_frames or 1)
        if container.duration:
            limits.check_duration(source.name, container.duration / 1_000_000)
        read_only(container, stream)
        ahead = ReadAhead(container.demux(stream))
        timeline = scan(container, stream, source.name, limits, ahead)
        size = (stream.width, stream.height)
        notes: list[str] = []
        _check_whole(source, timeline, allow_partial, notes)
        limits.check_duration(source.name, timeline.duration_s)

        def choose(total: int, duration_s: float) -> list[int]:
            wanted = _choose(source.name, total, timeline, duration_s, num_frames, start, end)
            limits.check_frames(source.name, *size, len(set(wanted)))
            return wanted

        if timeline.is_timed:
            opened = Opened(container, stream, ahead.kept) if ahead.kept else None
            return _read_timed(source, timeline, choose, allow_partial, notes, limits, opened)
    return _read_in_order(source, timeline, choose, allow_partial, notes, limits)


def _check_range(name: str, start: float | None, end: float | None) -> None:
    for label, value in (("start", start), ("end", end)):
        if value is not None and not math.isfinite(value):
            raise EmptyRangeError(name, f"the {label} is {value}", "Pass seconds")
    if end is not None and end < 0:
        raise EmptyRangeError(name, f"the end ({end:g} s) lies before the clip", "Pass a later end")
    if start is not None and end is not None and start > end:
        raise EmptyRangeError(
            name, f"the start ({start:g} s) lies after the end ({end:g} s)", "Swap them"
        )


def _check_whole(source: Source, timeline: Timeline, allow_partial: bool, notes: list[str]) -> None:
    """Raise, or note, that the file holds less than it promises."""
    readable = timeline.num_frames if timeline.is_timed else timeline.packets
    missing = shortfall(source)
    if timeline.promised > timeline.packets:
        missing = f"its index lists {timeline.promised} frames"
    elif timeline.is_damaged and missing is None:
        missing = "the container is damaged"
    if missing is not None:
        reason = f"cut short: {missing}; {readable} frames can be read"
        if not allow_partial or readable == 0:
            raise TruncatedMediaError(source.name, reason, PARTIAL, readable_frames=readable)
        notes.append(reason)
    if readable == 0:
        raise EmptyMediaError(source.name, "its video stream holds no frame", "Pass another file")


def _choose(
    name: str,
    total: int,
    timeline: Timeline,
    duration_s: float,
    num_frames: int | None,
    start: float | None,
    end: float | None,
) -> list[int]:
    return choose_indices(name, total, float(timeline.rate), duration_s, num_frames, start, end)


def choose_indices(
    name: str,
    total: int,
    fps: float,
    duration_s: float,
    num_frames: int | None,
    start: float | None,
    end: float | None,
) -> list[int]:
    """Frame numbers of a clip of `total` frames, by the released rules. Raises EmptyRangeError."""
    first, last = frame_range(total, fps, start, end)
    if start is not None and (start >= duration_s or first >= total):
        raise EmptyRangeError(
            name,
            f"the start ({start:g} s) is not before the clip's end ({duration_s:.3f} s)",
            "Pass an earlier start",
        )
    count = max(last, first) - first + 1
    chosen = fps_indices(count, fps) if num_frames is None else uniform_indices(count, num_frames)
    return [first + index for index in chosen]


def _read_timed(
    source: Source,
    timeline: Timeline,
    choose: Callable[[int, float], list[int]],
    allow_partial: bool,
    notes: list[str],
    limits: MediaLimits,
    opened: Opened | None,
) -> VideoClip:
    indices = choose(timeline.num_frames, timeline.duration_s)
    wanted = sorted(set(indices))
    times = [int(timeline.pts[index]) for index in wanted]
    pictures: dict[int, NDArray[np.uint8]] = {}
    to_rgb = RgbConverter()
    decoded = decode_at(source, timeline, times, limits, opened)
    for index, (_, frame) in zip(wanted, decoded, strict=True):
        if frame is not None:
            pictures[index] = _convert(source.name, frame, to_rgb)
        elif not allow_partial:
            raise CorruptMediaError(
                source.name,
                f"damaged: frame {index} ({timeline.time_s(index):.2f} s) cannot be decoded",
                PARTIAL,
            )
    indices = _keep_readable(source, indices, pictures, notes)
    return VideoClip(
        name=source.name,
        frames=[pictures[index] for index in indices],
        indices=tuple(indices),
        timestamps_s=tuple(timeline.time_s(index) for index in indices),
        fps=float(timeline.rate),
        duration_s=timeline.duration_s,
        notes=tuple(notes),
    )


def _keep_readable(
    source: Source,
    indices: list[int],
    pictures: dict[int, NDArray[np.uint8]],
    notes: list[str],
) -> list[int]:
    kept = [index for index in indices if index in pictures]
    if not kept:
        raise CorruptMediaError(
            source.name, "damaged: none of the frames asked for can be decoded", "Pass another file"
        )
    if len(kept) < len(indices):
        notes.append(f"{len(indices) - len(kept)} of {len(indices)} frames are damaged: left out")
    return kept


def _read_in_order(
    source: Source,
    timeline: Timeline,
    choose: Callable[[int, float], list[int]],
    allow_partial: bool,
    notes: list[str],
    limits: MediaLimits,
) -> VideoClip:
    """Files without usable times (raw streams): number the frames as the decoder gives them.

    The packet count is tried first; where it proves wrong the frames are counted by decoding.
    """
    rate = float(timeline.rate)
    total = timeline.packets
    pictures: dict[int, NDArray[np.uint8]] = {}
    indices: list[int] = []
    for _ in range(2):
        indices = choose(total, total / rate)
        pictures, found, is_damaged = _number(
            source.name, decode_in_order(source, limits), set(indices)
        )
        if is_damaged and not allow_partial:
            raise CorruptMediaError(source.name, f"damaged: {found} frames can be decoded", PARTIAL)
        if is_damaged:
            notes.append(f"damaged: only the first {found} frames can be decoded")
        if found == total or found == 0:
            break
        total = found
    indices = _keep_readable(source, indices, pictures, notes)
    return VideoClip(
        name=source.name,
        frames=[pictures[index] for index in indices],
        indices=tuple(indices),
        timestamps_s=tuple(index / rate for index in indices),
        fps=rate,
        duration_s=total / rate,
        notes=tuple(dict.fromkeys(notes)),
    )


def _convert(name: str, frame: VideoFrame, to_rgb: RgbConverter) -> NDArray[np.uint8]:
    import av.error

    try:
        return to_rgb(frame)
    except (av.error.FFmpegError, ValueError) as error:
        raise UnsupportedMediaError(
            name, f"its pixels ({frame.format.name}) cannot be converted to RGB", "Convert it"
        ) from error


def _number(
    name: str, frames: Iterator[VideoFrame | None], wanted: set[int]
) -> tuple[dict[int, NDArray[np.uint8]], int, bool]:
    """Convert the wanted frames: (picture by number, frames decoded, whether damage stopped it)."""
    pictures: dict[int, NDArray[np.uint8]] = {}
    to_rgb = RgbConverter()
    found = 0
    for frame in frames:
        if frame is None:
            return pictures, found, True
        if found in wanted:
            pictures[found] = _convert(name, frame, to_rgb)
        found += 1
    return pictures, found, False


def _read_stills(
    stills: Stills,
    num_frames: int | None,
    start: float | None,
    end: float | None,
    allow_partial: bool,
    limits: MediaLimits,
) -> VideoClip:
    notes = list(stills.notes)
    total, fps = stills.total, stills.fps
    duration_s = None if fps is None else total / fps
    if fps is None or duration_s is None:
        if start is not None or end is not None:
            raise UnsupportedMediaError(
                stills.name, "single pictures have no times", "Leave the range out"
            )
        if total > MAX_FRAMES:
            notes.append(f"the first {MAX_FRAMES} of {total} frames are used")
        indices = list(range(min(total, MAX_FRAMES)))
    else:
        indices = choose_indices(stills.name, total, fps, duration_s, num_frames, start, end)
    limits.check_frames(stills.name, *stills.size, len(set(indices)))
    if stills.missing is not None:
        reason = f"cut short: {stills.missing}; {total} frames can be read"
        if not allow_partial:
            raise TruncatedMediaError(stills.name, reason, PARTIAL, readable_frames=total)
        notes.append(reason)
    pictures = stills.read(sorted(set(indices)), limits)
    return VideoClip(
        name=stills.name,
        frames=[pictures[index] for index in indices],
        indices=tuple(indices),
        timestamps_s=() if fps is None else tuple(index / fps for index in indices),
        fps=fps,
        duration_s=duration_s,
        notes=tuple(notes),
    )
