"""Windows in one pass are the frames and samples that other ways of reading give."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import clips
import numpy as np
import psutil
import pytest

from videollama2.media.audio import read_audio
from videollama2.media.errors import CorruptMediaError, MediaNotFoundError
from videollama2.media.sampling import uniform_indices
from videollama2.media.video import read_video
from videollama2.media.windows import read_windows


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """7.4 s at 10 frames a second."""
    return clips.write_video(tmp_path_factory.mktemp("windows") / "a.mp4", 7.4)


def test_frames_and_samples_are_those_of_the_whole(clip: Path) -> None:
    windows = list(read_windows(clip, every_s=2.0, num_frames=4))
    every = read_video(clip, num_frames=74).frames
    sound = read_audio(clip)
    assert [window.start_s for window in windows] == [0.0, 2.0, 4.0, 6.0]
    assert windows[-1].end_s == pytest.approx(7.4, abs=0.1)
    for window in windows[:3]:
        assert window.clip is not None
        assert window.sound is not None
        first = round(window.start_s * 10)
        wanted = [first + index for index in uniform_indices(20, 4)]
        assert list(window.clip.indices) == wanted
        for index, frame in zip(wanted, window.clip.frames, strict=True):
            np.testing.assert_array_equal(frame, every[index])
    heard = np.concatenate([window.sound.waveform for window in windows if window.sound])
    np.testing.assert_array_equal(heard, sound.waveform[: len(heard)])
    assert len(sound.waveform) - len(heard) < 2000


@pytest.mark.parametrize("first", [1, 2, 3])
def test_beginning_later_gives_the_same(clip: Path, first: int) -> None:
    every = list(read_windows(clip, every_s=2.0, num_frames=3))[first:]
    later = list(read_windows(clip, every_s=2.0, num_frames=3, first=first))
    assert len(every) == len(later)
    for one, other in zip(every, later, strict=True):
        assert one.clip is not None
        assert other.clip is not None
        assert one.clip.indices == other.clip.indices
        np.testing.assert_array_equal(one.clip.frames, other.clip.frames)
        assert one.sound is not None
        assert other.sound is not None
        np.testing.assert_array_equal(one.sound.waveform, other.sound.waveform)


def test_a_short_rest_belongs_to_the_window_before(clip: Path) -> None:
    spans = [(one.start_s, one.end_s) for one in read_windows(clip, every_s=3.0, num_frames=2)]
    assert len(spans) == 2
    assert spans[1][1] == pytest.approx(7.4, abs=0.1)
    (only,) = read_windows(clip, every_s=60.0, num_frames=2)
    assert only.end_s == pytest.approx(7.4, abs=0.1)


def test_sound_alone_and_pictures_alone(tmp_path: Path) -> None:
    tone = clips.write_wav(tmp_path / "t.wav", 3.0)
    assert [one.clip for one in read_windows(tone, every_s=1.0, num_frames=2)] == [None] * 3
    silent = clips.write_video(tmp_path / "s.mp4", 3.0, sound=False)
    windows = list(read_windows(silent, every_s=1.0, num_frames=2))
    assert [one.sound for one in windows] == [None] * 3
    assert all(one.clip is not None and len(one.clip.frames) == 2 for one in windows)


def test_a_file_that_is_cut_gives_what_it_has(tmp_path: Path) -> None:
    whole = clips.write_video(tmp_path / "w.mkv", 6.0)
    cut = tmp_path / "c.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    windows = list(read_windows(cut, every_s=1.0, num_frames=2))
    assert windows
    assert any(one.clip is not None for one in windows)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError):
        next(read_windows(tmp_path / "none.mp4", every_s=1.0, num_frames=2))
    (tmp_path / "g.mp4").write_bytes(b"garbage" * 100)
    with pytest.raises(CorruptMediaError):
        next(read_windows(tmp_path / "g.mp4", every_s=1.0, num_frames=2))
    with pytest.raises(ValueError, match="above 0"):
        next(read_windows("a.mp4", every_s=0.0, num_frames=2))


def test_pictures_are_freed_without_the_collector(clip: Path) -> None:
    """A decoded picture of 1080 lines is 3 MB: none may wait in a circle."""
    gc.collect()
    gc.disable()
    try:
        for window in read_windows(clip, every_s=1.0, num_frames=8, with_sound=False):
            assert window.clip
        del window
        held = sum(isinstance(one, av.VideoFrame) for one in gc.get_objects())
    finally:
        gc.enable()
    assert held == 0


def write_hours(path: Path, seconds: int) -> Path:
    """Two small frames a second, with sound at 8 kHz."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=2)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("pcm_mulaw", rate=8000)
        audio.layout = "mono"
        pictures = [av.VideoFrame.from_ndarray(one, format="rgb24") for one in clips.frames(20, 32)]
        samples = (clips.tone(10.0)[::2] * 32767).astype(np.int16)[None]
        for start in range(0, seconds, 10):
            for place, picture in enumerate(pictures):
                picture.pts, picture.time_base = 2 * start + place, Fraction(1, 2)
                container.mux(video.encode(picture))
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 8000 * start, Fraction(1, 8000)
            container.mux(audio.encode(frame))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    process = psutil.Process()
    grown: list[int] = []
    for seconds in (600, 600, 3 * 3600):
        clip = write_hours(tmp_path / f"{seconds}.mov", seconds)
        before = most = process.memory_info().rss
        count = 0
        for window in read_windows(clip, every_s=60.0, num_frames=8):
            assert window.clip is not None
            assert window.sound is not None
            assert len(window.sound.waveform) == 60 * 16_000
            most = max(most, process.memory_info().rss)
            count += 1
        assert count == seconds // 60
        grown.append(most - before)
    assert grown[2] < max(grown[1], 0) + 24 * 2**20
