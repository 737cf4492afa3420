"""Headers that promise more bytes than a file holds, container by container."""

from pathlib import Path

import pytest
from media_clips import write_clip

from videollama2.media import TruncatedMediaError, read_audio, read_video
from videollama2.media.integrity import shortfall
from videollama2.media.source import Source

# What promises a length in its header; the codecs are those that go into it.
SOUNDS = {
    "a.wav": "pcm_s16le",
    "a.w64": "pcm_s16le",
    "a.caf": "pcm_s16le",
    "a.aiff": "pcm_s16be",
    "a.voc": "pcm_u8",
    "a.mka": "flac",
    "a.wma": "pcm_s16le",
    "a.ogg": "flac",
}
PICTURES = {
    "v.avi": ("mpeg4", None),
    "v.mkv": ("libx264", None),
    "v.flv": ("flv", None),
    "v.wmv": ("wmv2", None),
    "v.mxf": ("mpeg2video", None),
    "v.m2ts": ("libx264", {"mpegts_m2ts_mode": "1"}),
    "v.mp4": ("libx264", {"movflags": "faststart"}),
}


def cut(path: Path, size: int) -> Path:
    short = path.with_name(f"short{size}{path.suffix}")
    short.write_bytes(path.read_bytes()[:size])
    return short


@pytest.fixture(scope="module", params=[*SOUNDS, *PICTURES])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = request.param
    path = tmp_path_factory.mktemp("whole") / name
    if name in SOUNDS:
        codec, layout = SOUNDS[name], "mono" if name == "a.ogg" else "stereo"
        return write_clip(path, frames=0, audio=codec, seconds=1.5, layout=layout)
    codec, options = PICTURES[name]
    return write_clip(path, codec=codec, frames=30, size=(96, 80), container_options=options)


def test_a_whole_file_lacks_nothing(whole: Path) -> None:
    data = whole.read_bytes()
    assert shortfall(Source("whole", data=data)) is None
    assert shortfall(Source("whole", path=whole)) is None
    assert shortfall(Source("with more behind it", data=data + bytes(192))) is None


@pytest.mark.parametrize("part", [0.4, 0.6, 0.9])
def test_a_cut_file_is_truncated_and_says_how_much_can_be_read(whole: Path, part: float) -> None:
    short = cut(whole, int(whole.stat().st_size * part) | 1)
    is_sound = whole.name in SOUNDS
    read = read_audio if is_sound else read_video
    with pytest.raises(TruncatedMediaError) as caught:
        read(short)
    readable = caught.value.readable_s if is_sound else caught.value.readable_frames
    assert readable is not None
    assert 0 <= readable <= (1.5 if is_sound else 30)
    if readable:
        assert any("cut short" in note for note in read(short, allow_partial=True).notes)


def test_a_size_that_begins_with_eight_zero_bits_promises_nothing() -> None:
    assert shortfall(Source("a.mkv", data=b"\x1a\x45\xdf\xa3\0\0\0\x0a" + bytes(40))) is None
