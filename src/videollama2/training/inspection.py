"""One medium read as training would read it: what it holds, or what is wrong with it.

Knows nothing of tensors, so that the processes that do it start at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from videollama2.media.audio import Sound, read_audio
from videollama2.media.errors import (
    CorruptMediaError,
    EmptyMediaError,
    EmptyRangeError,
    MediaError,
    MediaFetchError,
    MediaNotFoundError,
    MediaTooLargeError,
    NoAudioStreamError,
    NoVideoStreamError,
    TruncatedMediaError,
    UnsupportedMediaError,
)
from videollama2.media.image import is_picture, read_image
from videollama2.media.integrity import shortfall
from videollama2.media.limits import DEFAULT_LIMITS, MediaLimits
from videollama2.media.probe import Probe, probe
from videollama2.media.source import Source, open_source
from videollama2.media.video import read_video

PROBLEMS: dict[type[MediaError], str] = {
    MediaNotFoundError: "missing",
    EmptyMediaError: "empty",
    TruncatedMediaError: "truncated",
    CorruptMediaError: "damaged",
    EmptyRangeError: "empty range",
    NoVideoStreamError: "no pictures",
    NoAudioStreamError: "no sound",
    MediaTooLargeError: "too large",
    MediaFetchError: "not fetched",
    UnsupportedMediaError: "unsupported",
}
WRONG_KIND = "wrong kind of medium"
SILENT, NO_SOUNDTRACK, SHORT_SOUND = "silent", "no soundtrack", "sound shorter than pictures"
NOTES = (SILENT, NO_SOUNDTRACK, SHORT_SOUND)
_QUIET = 1.5 / 32768  # one step of 16 bits may be dither
_SHORT_S = 0.5


@dataclass(frozen=True)
class Reading:
    """What to read of which medium; the fields are those of the processor's parts.

    `headers`: look at its header alone.
    """

    kind: Literal["video", "image", "audio"]
    source: str | Source
    start: float | None = None
    end: float | None = None
    num_frames: int | None = 16
    sound: bool | None = None
    allow_partial: bool = False
    headers: bool = False
    limits: MediaLimits = DEFAULT_LIMITS

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source if isinstance(self.source, str) else self.source.name


@dataclass(frozen=True)
class Inspection:
    """What was found: `problem` is a few words to count by ("" if it can be used), `reason` a line.

    `frames` taken, `sound_s` seconds of sound (None: there is none, or nobody asked), `duration_s`
    of the whole medium. `notes` are what is unusual and yet usable, of `NOTES`.
    """

    problem: str = ""
    reason: str = ""
    duration_s: float | None = None
    frames: int = 0
    sound_s: float | None = None
    notes: tuple[str, ...] = ()


def inspect_medium(reading: Reading) -> Inspection:
    """Read a medium; whatever is wrong with it is the result."""
    try:
        if reading.headers:
            return _headers(reading)
        if reading.kind == "video":
            return _video(reading)
        if reading.kind == "audio":
            sound = _sound(reading, reading.source)
            return Inspection(
                duration_s=sound.duration_s,
                sound_s=sound.duration_s,
                notes=(SILENT,) if _is_silent(sound) else (),
            )
        read_image(reading.source, limits=reading.limits)
        return Inspection(frames=1)
    except MediaError as error:
        return _wrong(error)


def inspect_named(task: tuple[str, Reading]) -> Inspection:
    """Read a medium that comes with its key."""
    return inspect_medium(task[1])


def _wrong(error: MediaError) -> Inspection:
    return Inspection(PROBLEMS.get(type(error), "unreadable"), str(error))


def _video(reading: Reading) -> Inspection:
    source = open_source(reading.source, limits=reading.limits)
    clip = read_video(
        source,
        num_frames=reading.num_frames,
        start=reading.start,
        end=reading.end,
        allow_partial=reading.allow_partial,
        limits=reading.limits,
    )
    if not source.is_folder and is_picture(source.head()) and len(set(clip.indices)) == 1:
        return Inspection(WRONG_KIND, f"{source.name}: it is a picture, not a video")
    found = Inspection(duration_s=clip.duration_s, frames=len(clip.frames))
    if reading.sound is False or source.is_folder or is_picture(source.head()):
        wanted = reading.sound is True
        return _soundless(found, f"{source.name}: pictures have no sound") if wanted else found
    try:
        sound = _sound(reading, source)
    except (NoAudioStreamError, EmptyMediaError, EmptyRangeError) as error:
        if reading.sound:
            return _soundless(found, str(error))
        return replace(found, notes=(NO_SOUNDTRACK,))
    notes = (SILENT,) if _is_silent(sound) else ()
    if sound.duration_s < _span_s(reading, clip.duration_s) - _SHORT_S:
        notes = (*notes, SHORT_SOUND)
    return replace(found, sound_s=sound.duration_s, notes=notes)


def _soundless(found: Inspection, reason: str) -> Inspection:
    return replace(found, problem=PROBLEMS[NoAudioStreamError], reason=reason)


def _sound(reading: Reading, source: str | Source) -> Sound:
    return read_audio(
        source,
        start=None if reading.start is None else max(reading.start, 0.0),
        end=reading.end,
        allow_partial=reading.allow_partial,
        limits=reading.limits,
    )


def _is_silent(sound: Sound) -> bool:
    return not bool(np.any(np.abs(sound.waveform) > _QUIET))


def _span_s(reading: Reading, duration_s: float | None) -> float:
    """Seconds of pictures that are asked for."""
    whole = duration_s or 0.0
    return min(reading.end or whole, whole) - max(reading.start or 0.0, 0.0)


def _headers(reading: Reading) -> Inspection:
    source = open_source(reading.source, limits=reading.limits)
    found = probe(source, limits=reading.limits)
    missing = shortfall(source)
    if missing and not reading.allow_partial:
        return Inspection(PROBLEMS[TruncatedMediaError], f"{source.name}: cut short: {missing}")
    if problem := _wrong_kind(reading, found):
        return Inspection(*problem)
    sound_s = found.audio_duration_s if found.has_audio and reading.sound is not False else None
    notes: tuple[str, ...] = ()
    if reading.kind == "video" and not found.has_audio and reading.sound is None:
        notes = (NO_SOUNDTRACK,)
    frames = {"video": reading.num_frames or 0, "image": 1, "audio": 0}[reading.kind]
    return Inspection("", "", found.duration_s, frames, sound_s, notes)


def _wrong_kind(reading: Reading, found: Probe) -> tuple[str, str] | None:
    if reading.kind == "image" and found.codec != "pictures":
        return WRONG_KIND, f"{found.name}: it is {found.kind}, not a picture"
    if reading.kind == "video" and found.kind == "image":
        return WRONG_KIND, f"{found.name}: it is a picture, not a video"
    if reading.kind == "video" and not found.has_video:
        return PROBLEMS[NoVideoStreamError], f"{found.name}: it has no video stream"
    if not found.has_audio and (reading.kind == "audio" or reading.sound):
        return PROBLEMS[NoAudioStreamError], f"{found.name}: it has no audio stream"
    return None
