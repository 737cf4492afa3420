from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from videollama2.scenes import Scene, World, render_frames, render_sound, write_clip


@pytest.fixture(scope="module")
def scene(scenes: list[Scene]) -> Scene:
    two = next(s for s in scenes if len(s.sounds) == 2 and len(s.things) == 2)
    return replace(two, hiss=0.002)


def test_a_clip_is_a_real_video_file(world: World, scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(scene, world, path)
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert container.format.name.startswith("mov,mp4")
        assert video.codec_context.name == "h264"
        assert video.codec_context.pix_fmt == "yuv420p"
        assert audio.codec_context.name == "aac"
        assert audio.codec_context.sample_rate == 48_000
        assert (video.width, video.height) == (192, 192)
        assert container.duration == pytest.approx(4e6, rel=0.02)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 32
    times = [(k + 0.5) / 8 for k in range(32)]
    drawn = render_frames(scene, world, times, 192).astype(float)
    assert np.abs(np.stack(frames) - drawn).mean() < 8
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", 16_000)
        pieces = [p for f in container.decode(audio=0) for p in resampler.resample(f)]
    heard = np.concatenate([piece.to_ndarray()[0] for piece in pieces])
    made = render_sound(scene, world)
    assert heard.size == pytest.approx(made.size, rel=0.02)
    # in step with what was drawn, to within 1 ms
    lags = range(-80, 81)
    part = made[8000:56_000]
    alike = [np.corrcoef(part, heard[8000 + lag : 56_000 + lag])[0, 1] for lag in lags]
    assert max(alike) > 0.98
    assert abs(lags[int(np.argmax(alike))]) <= 16


def test_sizes_and_rates(world: World, scene: Scene, tmp_path: Path) -> None:
    write_clip(scene, world, tmp_path / "small.mp4", size=96, fps=4)
    with av.open(str(tmp_path / "small.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 16
        assert container.streams.video[0].average_rate == 4
    with pytest.raises(ValueError, match="even"):
        write_clip(scene, world, tmp_path / "odd.mp4", size=97)
    assert not (tmp_path / "odd.mp4").exists()
