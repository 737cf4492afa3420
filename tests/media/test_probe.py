"""Headers of clips whose properties are known because they were made so."""

import numpy as np
import pytest
from media_clips import write_clip
from PIL import Image

from videollama2.media import MediaLimits, MediaTooLargeError, probe


def test_a_clip_with_sound(clip):
    found = probe(clip)
    assert found.kind == "video"
    assert (found.width, found.height, found.num_frames, found.fps) == (64, 48, 40, 25.0)
    assert found.duration_s == pytest.approx(1.6, abs=0.05)
    assert (found.codec, found.audio_codec) == ("h264", "aac")
    assert (found.audio_sampling_rate, found.audio_channels) == (44_100, 2)
    assert found.audio_duration_s == pytest.approx(1.6, abs=0.05)


def test_the_number_of_frames_is_counted_where_no_header_has_it(clips):
    path = write_clip(clips / "count.mkv", frames=23, rate=10)
    assert probe(path).num_frames == 23
    assert not probe(path).has_audio


def test_frames_folders_and_pictures(tmp_path):
    found = probe(np.zeros((5, 6, 7, 3), np.uint8))
    assert (found.kind, found.num_frames, found.width, found.height) == ("video", 5, 7, 6)
    for i in range(4):
        Image.new("RGB", (7, 6)).save(tmp_path / f"{i}.png")
    found = probe(tmp_path)
    assert (found.kind, found.num_frames, found.fps) == ("video", 4, 3.0)
    found = probe(Image.new("RGB", (7, 6)))
    assert (found.kind, found.num_frames, found.fps) == ("image", 1, None)


def test_the_size_is_refused_before_anything_is_decoded(clip):
    with pytest.raises(MediaTooLargeError):
        probe(clip, limits=MediaLimits(max_pixels=64 * 48 - 1))
