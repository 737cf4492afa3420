"""What a medium is, from its header: nothing is decoded but one frame's orientation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .colour import display_matrix, rotation
from .containers import audio_stream, open_container, read_only, video_stream
from .errors import CorruptMediaError
from .limits import DEFAULT_LIMITS, MediaLimits
from .source import Source, open_source
from .stills import open_stills
from .timeline import frame_rate, scan

if TYPE_CHECKING:
    from av.container.input import InputContainer
    from av.video.stream import VideoStream

MAX_PACKETS_FOR_ROTATION = 64


@dataclass(frozen=True)
class Probe:
    """`kind` is "video", "image" or "audio". Width and height are those after `rotation` (degrees
    clockwise). What a medium does not have, or its header does not say, is None."""

    name: str
    kind: str
    container: str | None = None
    codec: str | None = None
    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    num_frames: int | None = None
    rotation: int = 0
    has_video: bool = False
    has_audio: bool = False
    audio_codec: str | None = None
    audio_sampling_rate: int | None = None
    audio_channels: int | None = None
    audio_duration_s: float | None = None


def probe(value: object, *, limits: MediaLimits = DEFAULT_LIMITS) -> Probe:
    """Tell what `value` is (anything `open_source` takes).

    The number of frames is the header's index, else counted by demuxing. Raises a MediaError where
    the medium is missing, empty, no media file at all, or over a limit.
    """
    source = open_source(value, limits=limits)
    stills = open_stills(source, limits)
    if stills is not None:
        width, height = stills.size
        limits.check_frames(source.name, width, height, 1)
        single = stills.fps is None and stills.total == 1
        return Probe(
            source.name,
            "image" if single else "video",
            codec="pictures",
            duration_s=None if stills.fps is None or single else stills.total / stills.fps,
            width=width,
            height=height,
            fps=None if single else stills.fps,
            num_frames=stills.total,
            has_video=True,
        )
    with open_container(source, limits) as container:
        return _of_container(source, container, limits)


def _of_container(source: Source, container: InputContainer, limits: MediaLimits) -> Probe:
    video = video_stream(container, source.name, limits)
    audio = audio_stream(container, source.name, limits)
    if video is None and audio is None:
        raise CorruptMediaError(source.name, "it has neither pictures nor sound", "Pass a clip")
    duration_s = None if container.duration is None else container.duration / 1_000_000
    limits.check_duration(source.name, duration_s or 0.0)
    found = Probe(
        source.name,
        "video" if video is not None else "audio",
        container=container.format.name,
        duration_s=duration_s,
        codec=video.codec_context.name if video is not None else None,
        has_video=video is not None,
        has_audio=audio is not None,
        audio_codec=audio.codec_context.name if audio is not None else None,
        audio_sampling_rate=audio.sample_rate if audio is not None else None,
        audio_channels=audio.layout.nb_channels if audio is not None else None,
        audio_duration_s=(
            float(audio.duration * audio.time_base)
            if audio is not None and audio.duration is not None and audio.time_base is not None
            else (duration_s if audio is not None else None)
        ),
    )
    if video is None:
        return found
    return _with_video(found, source, container, video, limits)


def _with_video(
    found: Probe,
    source: Source,
    container: InputContainer,
    video: VideoStream,
    limits: MediaLimits,
) -> Probe:
    limits.check_frames(source.name, video.width, video.height, 1)
    width, height, fps = video.width, video.height, float(frame_rate(video))
    read_only(container, video)
    if "mov" in container.format.name and len(video.index_entries) == video.frames > 0:
        num_frames = sum(1 for entry in video.index_entries if not entry.is_discard)
    else:
        timeline = scan(container, video, source.name, limits)
        num_frames = timeline.num_frames if timeline.is_timed else timeline.packets
        fps = float(timeline.rate)
    turned = _rotation(source, limits)
    if turned in (90, 270):
        width, height = height, width
    return replace(
        found, width=width, height=height, fps=fps, num_frames=num_frames, rotation=turned
    )


def _rotation(source: Source, limits: MediaLimits) -> int:
    """Take the orientation from the first frame that decodes; 0 where none does."""
    import av.error

    with open_container(source, limits) as container:
        video = video_stream(container, source.name, limits)
        if video is None:
            return 0
        read_only(container, video)
        try:
            for count, packet in enumerate(container.demux(video)):
                for frame in packet.decode():
                    return rotation(display_matrix(frame))
                if count > MAX_PACKETS_FOR_ROTATION:
                    break
        except av.error.FFmpegError:
            return 0
    return 0
