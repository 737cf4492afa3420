"""One small file of each kind that people send, made on the spot and the same each time."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import clips
import numpy as np
from PIL import Image

FRAMES = 12
SIZE = 48


@dataclass(frozen=True)
class Seed:
    """`kind` is how it is sent: "video", "audio" or "image"; `data` its bytes."""

    name: str
    kind: str
    data: bytes


def all_seeds() -> list[Seed]:
    """mp4 (plain, fragmented, two codecs), mov, webm, mkv, avi, ogg, wav, flac, mp3, pictures."""
    pictures = clips.frames(FRAMES, SIZE)
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    return [
        Seed("mp4", "video", _clip("mp4", "libx264", "aac")),
        Seed("fragmented.mp4", "video", _clip("mp4", "libx264", "aac", fragments)),
        Seed("mpeg4.mp4", "video", _clip("mp4", "mpeg4", None)),
        Seed("mov", "video", _clip("mov", "mjpeg", "pcm_s16le")),
        Seed("webm", "video", _clip("webm", "libvpx", "libopus")),
        Seed("vp9.webm", "video", _clip("webm", "libvpx-vp9", None)),
        Seed("mkv", "video", _clip("matroska", "libx264", "flac")),
        Seed("avi", "video", _clip("avi", "mpeg4", "pcm_s16le")),
        Seed("ogg", "audio", _clip("ogg", None, "libopus")),
        Seed("wav", "audio", _clip("wav", None, "pcm_s16le")),
        Seed("flac", "audio", _clip("flac", None, "flac")),
        Seed("mp3", "audio", _clip("mp3", None, "libmp3lame")),
        Seed("m4a", "audio", _clip("ipod", None, "aac")),
        Seed("png", "image", _pictures("PNG", pictures[:1])),
        Seed("jpg", "image", _pictures("JPEG", pictures[:1], quality=90)),
        Seed("webp", "image", _pictures("WEBP", pictures[:1])),
        Seed("bmp", "image", _pictures("BMP", pictures[:1])),
        Seed("gif", "video", _pictures("GIF", pictures)),
        Seed("apng", "video", _pictures("PNG", pictures)),
    ]


def _clip(
    container: str, codec: str | None, sound: str | None, options: dict[str, str] | None = None
) -> bytes:
    file = io.BytesIO()
    options = {"fflags": "+bitexact", **(options or {})}
    with av.open(file, "w", format=container, options=options) as out:
        video = out.add_stream(codec, rate=10) if codec else None
        audio = None
        if sound:
            audio = out.add_stream(sound, rate=48_000 if sound == "libopus" else 16_000)
            audio.layout = "mono"
        if video is not None:
            video.width = video.height = SIZE
            video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            video.gop_size = 5
            video.options = {"threads": "1"}
            for picture in clips.frames(FRAMES, SIZE):
                out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            out.mux(video.encode(None))
        if audio is not None:
            for frame in _frames_of_sound(audio):
                out.mux(audio.encode(frame))
            out.mux(audio.encode(None))
    return file.getvalue()


def _frames_of_sound(stream: av.AudioStream) -> list[av.AudioFrame]:
    rate = stream.rate
    times = np.arange(int(rate * FRAMES / 10)) / rate
    samples = (0.4 * np.sin(2 * np.pi * 440 * times) * 32767).astype(np.int16)[None]
    resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
    found = []
    for start in range(0, samples.shape[1], 960):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[:, start : start + 960]), format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        found += resampler.resample(frame)
    return found


def _pictures(kind: str, pictures: np.ndarray, **options: int) -> bytes:
    file = io.BytesIO()
    images = [Image.fromarray(picture) for picture in pictures]
    if len(images) > 1:
        images[0].save(file, kind, save_all=True, append_images=images[1:], duration=100)
    else:
        images[0].save(file, kind, **options)
    return file.getvalue()
