"""Clips that reading is measured on."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def make_clip(path: Path, width: int, height: int, seconds: int, **options: str) -> None:
    """Moving texture and a tone, 30 pictures a second, a keyframe every 250 of them.

    As x264 encodes by itself, with B-pictures, where its `options` do not say otherwise.
    """
    import av

    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    texture = texture.repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"g": "250", "crf": "28", **options}
        audio = container.add_stream("aac", rate=44100)
        audio.layout = "mono"
        for index in range(seconds * 30):
            picture = np.roll(texture, (index % height, 2 * index % width), (0, 1))
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        for second in range(seconds):
            tone = np.sin(np.arange(44100) * 0.06).astype(np.float32)[None] * 0.3
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, second * 44100
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
