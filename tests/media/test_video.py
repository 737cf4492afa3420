"""The seeking reader against a brute-force sequential decode, and what it says of bad files."""

from pathlib import Path

import av
import av.filter
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media_clips import picture, sequential, write_clip
from PIL import Image

from videollama2.media import (
    CorruptMediaError,
    EmptyMediaError,
    EmptyRangeError,
    MediaError,
    MediaLimits,
    MediaNotFoundError,
    MediaTooLargeError,
    NoVideoStreamError,
    TruncatedMediaError,
    UnsupportedMediaError,
    frame_range,
    probe,
    read_video,
    uniform_indices,
)

X265 = "log-level=none:keyint=12:min-keyint=12:scenecut=0:bframes=4"
UNEVEN = np.cumsum([4, 4, 9, 3, 20, 1, 4, 4, 7, 2] * 4).tolist()
CLIPS = {
    "h264.mp4": {"audio": "aac"},
    "h264.mkv": {},
    "h264.mov": {},
    "h264.ts": {"container": "mpegts"},
    "h264.avi": {},
    "h264.flv": {},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "open-groups.mp4": {
        "options": {"x264-params": "open-gop=1:bframes=3:keyint=12:min-keyint=12:scenecut=0"}
    },
    "intra-refresh.mkv": {"options": {"x264-params": "intra-refresh=1:keyint=12:bframes=0"}},
    "pyramid.mp4": {"options": {"x264-params": "b-pyramid=normal:bframes=5:b-adapt=0:keyint=250"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": X265}},
    "hevc-open.mkv": {"codec": "libx265", "options": {"x265-params": X265 + ":open-gop=1"}},
    "hevc-10-bit.mp4": {
        "codec": "libx265",
        "pix_fmt": "yuv420p10le",
        "options": {"x265-params": X265},
    },
    "vp8.webm": {
        "codec": "libvpx",
        "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5"},
    },
    "vp9.webm": {
        "codec": "libvpx-vp9",
        "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5"},
    },
    "vp9-alpha.webm": {"codec": "libvpx-vp9", "pix_fmt": "yuva420p", "options": {"cpu-used": "5"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "odd-size.mp4": {"size": (63, 47), "pix_fmt": "yuv444p"},
    "alpha.mov": {"codec": "qtrle", "pix_fmt": "argb"},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "container": "mpeg", "options": {"bf": "2"}},
    "uneven.mp4": {"times": UNEVEN},
    "uneven.mkv": {"times": UNEVEN},
    "negative-start.mp4": {"times": [i * 4 - 20 for i in range(40)]},
    "late-start.mkv": {"times": [i * 4 + 200 for i in range(40)]},
    "raw.h264": {"container": "h264"},
}
HAS_NO_TIMES = ("raw.h264", "h264.avi")


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_is_the_one_that_a_sequential_decode_gives(name, clips):
    path = write_clip(clips / f"all-{name}", **CLIPS[name])
    pictures, times = sequential(path)
    total = len(pictures)
    assert probe(path).num_frames == total
    everything = read_video(path, num_frames=2 * total)
    assert set(everything.indices) == set(range(total))
    for count, start in ((1, None), (3, None), (7, 0.5)):
        clip = read_video(path, num_frames=count, start=start)
        first, last = frame_range(total, clip.fps, start, None)
        assert list(clip.indices) == [first + i for i in uniform_indices(last - first + 1, count)]
        for index, frame in zip(clip.indices, clip.frames, strict=True):
            np.testing.assert_array_equal(frame, pictures[index])
    for index, frame in zip(everything.indices, everything.frames, strict=True):
        np.testing.assert_array_equal(frame, pictures[index])
    if name not in HAS_NO_TIMES:
        seconds = [times[index] - times[0] for index in everything.indices]
        np.testing.assert_allclose(everything.timestamps_s, seconds, atol=2e-3)


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_range_and_count_gives_the_frames_of_the_released_rule(data, clip):
    pictures, _ = sequential(clip)
    start = data.draw(st.none() | st.floats(0, 1.55))
    end = data.draw(st.none() | st.floats(start or 0, 2.5))
    count = data.draw(st.integers(1, 20))
    read = read_video(clip, num_frames=count, start=start, end=end)
    first, last = frame_range(40, 25.0, start, end)
    span = max(last, first) - first + 1
    assert list(read.indices) == [first + i for i in uniform_indices(span, count)]
    for index, frame in zip(read.indices, read.frames, strict=True):
        np.testing.assert_array_equal(frame, pictures[index])


def test_no_count_means_one_frame_a_second(clips):
    path = write_clip(clips / "long.mp4", frames=130, rate=10, size=(32, 32))
    clip = read_video(path, num_frames=None)
    assert list(clip.indices) == list(range(5, 130, 10))
    assert clip.fps == 10
    assert clip.duration_s == pytest.approx(13)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_of_the_container_is_applied(degrees, clips):
    path = write_clip(clips / f"turned-{degrees}.mp4", frames=3, rotation=degrees)
    plain, _ = sequential(path)
    clip = read_video(path, num_frames=1)
    found = probe(path)
    # A display matrix turns counter-clockwise by its angle.
    expected = np.rot90(plain[1], degrees // 90)
    np.testing.assert_array_equal(clip.frames[0], expected)
    assert (found.height, found.width) == expected.shape[:2]
    assert found.rotation == (360 - degrees) % 360


def test_interlaced_pictures_are_converted_as_ffmpeg_does(tmp_path):
    """Whole, not field by field, which is how the released code's decoder does it too."""
    flags = {"flags": "+ildct+ilme", "x264-params": "tff=1", "preset": "ultrafast"}
    path = write_clip(tmp_path / "interlaced.mp4", frames=8, options=flags)
    graph = av.filter.Graph()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        chain = [
            graph.add_buffer(template=stream),
            graph.add("scale", "interl=0"),
            graph.add("format", "rgb24"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*chain).configure()
        expected = []
        for frame in container.decode(stream):
            assert frame.interlaced_frame
            graph.push(frame)
            expected.append(graph.pull().to_ndarray())
    found = read_video(path, num_frames=8).frames
    assert len(expected) == 8
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_bytes_and_files_give_the_same(clip):
    a = read_video(clip, num_frames=5)
    for value in (clip.read_bytes(), str(clip), clip.as_uri(), clip.open("rb")):
        b = read_video(value, num_frames=5)
        assert a.indices == b.indices
        assert all(np.array_equal(x, y) for x, y in zip(a.frames, b.frames, strict=True))


def test_arrays_and_lists_are_used_as_they_are():
    frames = np.stack([picture(i, 16, 8) for i in range(40)])
    clip = read_video(frames, num_frames=8)
    assert clip.indices == tuple(range(32))
    assert clip.notes == ("the first 32 of 40 frames are used",)
    assert clip.timestamps_s == ()
    clip = read_video([Image.fromarray(frames[3]), frames[4]], num_frames=8)
    assert len(clip.frames) == 2
    np.testing.assert_array_equal(clip.frames[0], frames[3])
    with pytest.raises(UnsupportedMediaError, match="no times"):
        read_video(frames, start=0.0, end=1.0)


def test_a_folder_counts_as_three_frames_a_second(tmp_path):
    for i in range(12):
        Image.fromarray(picture(i, 16, 8)).save(tmp_path / f"{i:03}.png")
    (tmp_path / "labels.txt").write_text("no picture")
    clip = read_video(tmp_path, num_frames=4)
    assert list(clip.indices) == uniform_indices(12, 4)
    np.testing.assert_array_equal(clip.frames[0], picture(clip.indices[0], 16, 8))
    assert "1 files of the folder are no pictures" in clip.notes[0]
    clip = read_video(tmp_path, num_frames=2, start=1.0, end=3.0)
    assert list(clip.indices) == [2 + i for i in uniform_indices(7, 2)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyMediaError):
        read_video(tmp_path / "empty")


def test_a_gif_gives_each_frame_whole_and_a_still_is_one_frame(tmp_path):
    pictures = [Image.fromarray(picture(i, 32, 16)) for i in range(6)]
    pictures[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100, loop=0
    )
    clip = read_video(tmp_path / "a.gif", num_frames=6)
    assert clip.indices == (0, 1, 2, 3, 4, 5)
    assert clip.fps == 25
    for i, frame in enumerate(clip.frames):
        assert np.abs(frame.astype(int) - picture(i, 32, 16)).mean() < 12
    pictures[0].save(tmp_path / "b.png")
    still = read_video(tmp_path / "b.png", num_frames=8)
    assert len(still.frames) == 1
    assert still.fps is None
    with pytest.raises(UnsupportedMediaError, match="no times"):
        read_video(tmp_path / "b.png", start=0.0)
    np.testing.assert_array_equal(still.frames[0], picture(0, 32, 16))


@pytest.mark.parametrize(
    ("start", "end"), [(1.0, 0.5), (1.6, None), (99.0, 100.0), (None, -1.0), (float("nan"), None)]
)
def test_a_range_that_holds_nothing_is_an_error(start, end, clip):
    with pytest.raises(EmptyRangeError):
        read_video(clip, start=start, end=end)


def test_bad_files_are_named_with_reason_and_remedy(tmp_path, clips):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(np.random.default_rng(0).bytes(5000))
    sound = write_clip(clips / "sound-only.wav", frames=0, audio="pcm_s16le", seconds=0.5)
    for path, kind in (
        (tmp_path / "missing.mp4", MediaNotFoundError),
        (empty, EmptyMediaError),
        (garbage, CorruptMediaError),
        (sound, NoVideoStreamError),
    ):
        with pytest.raises(kind) as caught:
            read_video(path)
        error = caught.value
        assert error.name == str(path)
        assert error.reason in str(error)
        assert str(error).startswith(str(path))
        assert error.remedy
    with pytest.raises(UnsupportedMediaError):
        read_video(3)
    with pytest.raises(UnsupportedMediaError):
        read_video("rtsp://example.org/x")


def test_a_playlist_opens_no_other_file(tmp_path, clip):
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{clip}\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError):
        read_video(playlist)
    concat = tmp_path / "concat.txt"
    concat.write_text(f"ffconcat version 1.0\nfile {clip}\n")
    with pytest.raises(MediaError):
        read_video(concat)


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "h264.avi", "h264.ts", "fragments.mp4"])
def test_a_truncated_file_says_how_much_can_be_read(name, tmp_path):
    options = dict(CLIPS[name], size=(96, 80), audio=None)
    if name == "h264.mp4":
        options["container_options"] = {"movflags": "faststart"}
    whole = write_clip(tmp_path / name, **options)
    data = whole.read_bytes()
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(data[: len(data) * 2 // 3 + 1])
    with pytest.raises(TruncatedMediaError) as caught:
        read_video(cut)
    readable = caught.value.readable_frames
    assert 0 < readable < 40
    assert str(readable) in str(caught.value)
    partial = read_video(cut, num_frames=4, allow_partial=True)
    assert partial.notes
    assert "cut short" in partial.notes[0]
    pictures, _ = sequential(whole)
    for index, frame in zip(partial.indices, partial.frames, strict=True):
        assert index < readable
        np.testing.assert_array_equal(frame, pictures[index])


def test_a_file_cut_before_its_index_has_nothing_to_read(clip, tmp_path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:3000])
    for allow_partial in (False, True):
        with pytest.raises(TruncatedMediaError) as caught:
            read_video(cut, allow_partial=allow_partial)
        assert caught.value.readable_frames == 0


def test_damage_is_an_error_and_partial_reading_keeps_the_whole_frames(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", size=(96, 80), gop=10, frames=40)
    pictures, _ = sequential(whole)
    data = bytearray(whole.read_bytes())
    at = data.find(b"mdat") + 4
    middle = at + (data.find(b"moov") - at) // 2
    data[middle : middle + 400] = np.random.default_rng(1).bytes(400)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    with pytest.raises(CorruptMediaError, match="damaged"):
        read_video(damaged, num_frames=40)
    partial = read_video(damaged, num_frames=40, allow_partial=True)
    assert 10 <= len(partial.frames) < 40
    assert "are damaged: left out" in partial.notes[0]
    for index, frame in zip(partial.indices, partial.frames, strict=True):
        np.testing.assert_array_equal(frame, pictures[index])


@pytest.mark.parametrize(
    "limits",
    [
        MediaLimits(max_pixels=1000),
        MediaLimits(max_frames_in_memory=4),
        MediaLimits(max_decoded_bytes=20_000),
        MediaLimits(max_duration_s=1.0),
        MediaLimits(max_bytes=1000),
    ],
    ids=lambda limits: str(limits)[:60],
)
def test_limits_hold(limits, clip):
    with pytest.raises(MediaTooLargeError, match="over the limit"):
        read_video(clip, num_frames=8, limits=limits)


FUZZED = ("h264.mp4", "h264.mkv", "h264.ts", "mpeg4.avi", "vp9.webm", "hevc.mp4", "raw.h264")


@pytest.fixture(scope="module")
def small_clips(clips) -> dict[str, bytes]:
    small = {"size": (32, 32), "frames": 10, "gop": 5}
    return {
        name: write_clip(clips / f"small-{name}", **{**CLIPS[name], **small}).read_bytes()
        for name in FUZZED
    }


@given(data=st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_bytes_give_frames_or_a_media_error(data, small_clips, tmp_path_factory):
    clip = bytearray(small_clips[data.draw(st.sampled_from(FUZZED))])
    if data.draw(st.booleans()):
        clip = clip[: data.draw(st.integers(1, len(clip)))]
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(clip) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=8))
        clip[at : at + len(piece)] = piece
    allow_partial = data.draw(st.booleans())
    try:
        read = read_video(bytes(clip), num_frames=4, allow_partial=allow_partial)
    except MediaError:
        return
    assert 1 <= len(read.frames) <= 4
    assert all(f.ndim == 3 and f.dtype == np.uint8 for f in read.frames)


def test_path_like_names_and_unusual_letters(clip, tmp_path):
    odd = tmp_path / "a %20 b:c? #é.mp4"
    odd.write_bytes(Path(clip).read_bytes())
    assert len(read_video(odd, num_frames=2).frames) == 2
