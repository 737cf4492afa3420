"""What is kept of a file is the same as reading it again, and it is opened less often."""

from contextlib import contextmanager

import av
import numpy as np
import pytest
from av.audio.resampler import AudioResampler
from media_clips import write_clip

from videollama2.media import audio, decoder, packets, read_audio, read_video, video
from videollama2.media.packets import ReadAhead


@pytest.fixture
def opened(monkeypatch):
    """Counts how often a container is opened."""
    count = []

    @contextmanager
    def counting(source, limits, real=video.open_container):
        count.append(source.name)
        with real(source, limits) as container:
            yield container

    for module in (audio, decoder, video):
        monkeypatch.setattr(module, "open_container", counting)
    return count


CASES = [
    ("clip.mp4", {"options": {"bf": "2"}}),
    ("open.mkv", {"options": {"bf": "2", "x264-params": "open-gop=1"}}),
    ("clip.avi", {"codec": "mpeg4"}),
]


@pytest.mark.parametrize(("name", "how"), CASES)
def test_kept_packets_give_what_seeking_gives(name, how, tmp_path, opened, monkeypatch):
    path = write_clip(tmp_path / name, **how)
    kept = read_video(path, num_frames=7)
    assert len(opened) == 1
    monkeypatch.setattr(packets, "MOST_PACKETS", 3)
    sought = read_video(path, num_frames=7)
    assert len(opened) == 3
    assert kept.indices == sought.indices
    assert all(np.array_equal(*pair) for pair in zip(kept.frames, sought.frames, strict=True))


def test_sound_is_read_once_and_is_the_same_when_read_twice(clip, opened, monkeypatch):
    once = read_audio(clip)
    assert len(opened) == 1
    monkeypatch.setattr(packets, "MOST_BYTES", 100)
    twice = read_audio(clip)
    assert len(opened) == 3
    assert np.array_equal(once.waveform, twice.waveform)


def test_blocks_are_resampled_as_single_frames_are(clip):
    resampler = AudioResampler(format="s16", layout="mono", rate=16_000)
    with av.open(str(clip)) as container:
        pieces = []
        for frame in [*container.decode(audio=0), None]:
            if frame is not None:
                frame.pts = None
            pieces += [one.to_ndarray().reshape(-1) for one in resampler.resample(frame)]
    wanted = np.concatenate(pieces).astype(np.float32) / 32768
    assert np.array_equal(read_audio(clip).waveform, wanted)


def test_what_is_not_heard_is_not_decoded(clip):
    whole = read_audio(clip)
    part = read_audio(clip, most_s=0.5)
    assert 0.5 <= part.duration_s < 0.5 + 2 * audio.BLOCK_SAMPLES / 16_000
    assert part.duration_s < whole.duration_s
    assert np.array_equal(part.waveform, whole.waveform[: len(part.waveform)])
    assert part.duration_s + part.left_s == pytest.approx(whole.duration_s, abs=0.1)
    assert whole.left_s == 0.0


def test_an_error_of_the_demuxer_comes_again_where_it_came():
    class Packet:
        size = 1

    def broken():
        yield Packet()
        raise av.error.InvalidDataError(1, "broken")

    ahead = ReadAhead(broken())
    for each_pass in (ahead.first_pass(), ahead.again()):
        assert isinstance(next(each_pass), Packet)
        with pytest.raises(av.error.InvalidDataError):
            next(each_pass)
    assert ahead.is_whole
    assert ahead.kept is None
