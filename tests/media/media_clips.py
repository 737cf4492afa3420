"""Clips made here with PyAV, and a brute-force reader to hold the seeking one against."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FrameMaker = Callable[[int, int, int], np.ndarray]


def picture(index: int, width: int, height: int) -> np.ndarray:
    """A moving ramp with a bright bar whose place tells the frame number."""
    across = np.arange(width)[None, :, None]
    down = np.arange(height)[:, None, None]
    ramp = (across * 3 + down * 2 + index * np.array([5, 3, 7])) % 200
    frame = np.broadcast_to(ramp, (height, width, 3)).astype(np.uint8).copy()
    at = (index * 3) % max(width - 4, 1)
    frame[:, at : at + 4] = 255
    return frame


def write_clip(
    path: Path,
    *,
    codec: str = "libx264",
    frames: int = 40,
    size: tuple[int, int] = (64, 48),
    rate: int = 25,
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    container: str | None = None,
    container_options: dict[str, str] | None = None,
    times: list[int] | None = None,
    rotation: float | None = None,
    audio: str | None = None,
    seconds: float | None = None,
    sample_rate: int = 44_100,
    layout: str = "stereo",
    maker: FrameMaker = picture,
    gop: int = 12,
) -> Path:
    """Encode `frames` pictures (at ticks `times` of 1/rate/4 s, else evenly) and a sine."""
    width, height = size
    with av.open(str(path), "w", format=container, options=container_options or {}) as out:
        video = out.add_stream(codec, rate=rate) if frames else None
        sound = out.add_stream(audio, rate=sample_rate, layout=layout) if audio else None
        if video is not None:
            video.width, video.height, video.pix_fmt = width, height, pix_fmt
            video.gop_size = gop
            video.options = {"threads": "1", **(options or {})}
            if rotation is not None:
                video.set_display_rotation(rotation)
            if times:
                video.codec_context.time_base = Fraction(1, rate * 4)
            for index in range(frames):
                frame = av.VideoFrame.from_ndarray(maker(index, width, height), format="rgb24")
                frame.pts = times[index] if times else index * 4
                frame.time_base = Fraction(1, rate * 4)
                out.mux(video.encode(frame))
        if sound is not None:
            length = seconds if seconds is not None else frames / rate
            for frame in tone(length, sample_rate, layout):
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
        if video is not None:
            out.mux(video.encode(None))
    return path


def tone(seconds: float, rate: int, layout: str, chunk: int = 1024) -> list[av.AudioFrame]:
    """A 440 Hz sine on every channel, quieter from channel to channel."""
    channels = av.AudioLayout(layout).nb_channels
    samples = np.arange(round(seconds * rate))
    wave = 0.5 * np.sin(2 * np.pi * 440 * samples / rate)
    frames = []
    for at in range(0, len(samples), chunk):
        piece = wave[at : at + chunk]
        block = np.stack([piece / (i + 1) for i in range(channels)]).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        frames.append(frame)
    return frames


def sequential(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Every frame in the decoder's order, one thread, no seeking: (pictures, seconds)."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "NONE"
        pictures, times = [], []
        for frame in container.decode(stream):
            pictures.append(frame.to_ndarray(format="rgb24"))
            times.append(frame.time)
    return pictures, times
