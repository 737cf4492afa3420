"""A folder of small media, sound and broken, made on the spot."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

SAMPLING_RATE = 16_000


def frames(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
    """(count, size, size, 3): a square that wanders over a coloured ground."""
    random = np.random.default_rng(seed)
    pictures = np.full((count, size, size, 3), random.integers(0, 255, 3), np.uint8)
    for index in range(count):
        at = (index * (size - 16)) // max(count - 1, 1)
        pictures[index, at : at + 16, 8:24] = random.integers(0, 255, 3)
    return pictures


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    """(samples,) of float32."""
    times = np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    return (0.4 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def write_video(
    path: Path,
    seconds: float = 2.0,
    *,
    sound: bool = True,
    seed: int = 0,
    sound_s: float | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """H.264 at 10 frames a second, with AAC (of `sound_s`, else as long) or without."""
    with av.open(str(path), "w", container_options=options or {}) as container:
        video = container.add_stream("libx264", rate=10)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLING_RATE) if sound else None
        for picture in frames(int(seconds * 10), seed=seed):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None:
            samples = tone(seconds if sound_s is None else sound_s, 300 + 200 * seed)[None]
            for start in range(0, samples.shape[1], 1024):
                chunk = np.ascontiguousarray(samples[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="mono")
                frame.sample_rate = SAMPLING_RATE
                frame.pts, frame.time_base = start, Fraction(1, SAMPLING_RATE)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def write_wav(path: Path, seconds: float = 1.0) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLING_RATE)
        file.writeframes((tone(seconds) * 32767).astype("<i2").tobytes())
    return path


def write_all(folder: Path) -> Path:
    """clip.mp4, other.mp4, silent.mp4, tone.wav, picture.png; cut.mkv, garbage.mp4, empty.mp4."""
    clip = write_video(folder / "clip.mp4")
    write_video(folder / "other.mp4", 1.0, seed=1)
    write_video(folder / "silent.mp4", sound=False)
    write_wav(folder / "tone.wav")
    Image.fromarray(frames(1, seed=3)[0]).save(folder / "picture.png")
    (folder / "garbage.mp4").write_bytes(np.random.default_rng(0).bytes(4000))
    (folder / "empty.mp4").write_bytes(b"")
    whole = write_video(folder / "whole.mkv", 4.0)
    (folder / "cut.mkv").write_bytes(whole.read_bytes()[: clip.stat().st_size // 2])
    whole.unlink()
    return folder
