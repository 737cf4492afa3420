"""Scene -> a real video file, H.264 and AAC in mp4."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from .rendering import render_frames
from .scene import Scene
from .sounds import render_sound
from .world import CLIP_SECONDS, SAMPLING_RATE, World

if TYPE_CHECKING:
    from av.container import OutputContainer

SOUND_RATE = 48_000


def write_clip(
    scene: Scene,
    world: World,
    path: str | os.PathLike[str],
    size: int = 192,
    fps: int = 8,
    crf: int = 18,
    sound_bits: int = 128_000,
) -> None:
    """Write the four seconds of a scene as an mp4 file: yuv420p pictures, mono sound at 48 kHz.

    Frame k shows the scene at the middle of its own interval, (k + 0.5) / fps. `crf` is x264's
    quality (lower is better), `sound_bits` the sound's bits a second. Needs PyAV.

    Raises:
        ValueError: `size` is odd (H.264 in yuv420p needs even sides), or `fps` is not positive.
    """
    if size % 2 or fps < 1:
        raise ValueError(f"size must be even and fps positive, not {size} and {fps}")
    import av

    times = [(k + 0.5) / fps for k in range(round(CLIP_SECONDS * fps))]
    pictures = render_frames(scene, world, times, size)
    samples = np.round(render_sound(scene, world) * 32767).astype(np.int16)
    with av.open(os.fspath(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=fps)  # pyright: ignore[reportUnknownMemberType]
        video.width = video.height = size
        video.pix_fmt = "yuv420p"
        video.options = {"crf": str(crf), "preset": "medium"}
        audio = container.add_stream("aac", rate=SOUND_RATE)  # pyright: ignore[reportUnknownMemberType]
        audio.layout = "mono"
        audio.bit_rate = sound_bits
        for position, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = position, Fraction(1, fps)
            _put(container, video, frame)
        _put(container, video, None)
        sound = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts = SAMPLING_RATE, 0
        sound.time_base = Fraction(1, SAMPLING_RATE)
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=SOUND_RATE)
        for piece in [*resampler.resample(sound), *resampler.resample(None)]:
            _put(container, audio, piece)
        _put(container, audio, None)


def _put(container: OutputContainer, stream: Any, frame: Any) -> None:
    """Encode a frame, or with None what is left, and write it: streams take their own frames."""
    container.mux(stream.encode(frame))  # pyright: ignore[reportUnknownMemberType]
