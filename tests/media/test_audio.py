"""Sound against numbers known beforehand, and what is said of bad files."""

import struct
import wave

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media_clips import write_clip
from scipy import signal

from videollama2.media import (
    CorruptMediaError,
    EmptyMediaError,
    EmptyRangeError,
    MediaError,
    MediaLimits,
    MediaNotFoundError,
    MediaTooLargeError,
    NoAudioStreamError,
    TruncatedMediaError,
    probe,
    read_audio,
    read_waveform,
)


def write_wav(path, samples, rate=16_000):
    """`samples` (n, channels) int16."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(samples.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())
    return path


def noise(count, channels=1, seed=0):
    return np.random.default_rng(seed).integers(-20_000, 20_000, (count, channels), np.int16)


def test_16_khz_mono_is_taken_as_it_is(tmp_path):
    samples = noise(12_345)
    sound = read_audio(write_wav(tmp_path / "a.wav", samples))
    np.testing.assert_array_equal(sound.waveform, samples[:, 0].astype(np.float32) / 32768)
    assert sound.sampling_rate == 16_000
    assert sound.duration_s == pytest.approx(12_345 / 16_000)
    assert sound.waveform.dtype == np.float32


def test_stereo_is_the_mean_of_both_in_16_bits(tmp_path):
    samples = noise(5000, 2)
    sound = read_audio(write_wav(tmp_path / "a.wav", samples)).waveform * 32768
    np.testing.assert_array_equal(sound, np.round(sound))
    np.testing.assert_allclose(sound, samples.mean(1), atol=1)


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1), (8000, 1), (11_025, 2)])
def test_resampling_keeps_the_sound(rate, channels, tmp_path):
    time = np.arange(2 * rate) / rate
    tone = 0.4 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 1900 * time)
    samples = np.repeat(np.round(tone * 32767).astype(np.int16)[:, None], channels, 1)
    sound = read_audio(write_wav(tmp_path / "a.wav", samples, rate))
    assert abs(len(sound.waveform) - 32_000) <= 16
    truth = signal.resample_poly(tone, 16_000, rate)[1000:-1000]
    np.testing.assert_allclose(sound.waveform[1000 : 1000 + len(truth)], truth, atol=3e-3)


@pytest.mark.parametrize("channels", [3, 4, 5, 6, 7, 8])
def test_many_channels(channels, tmp_path):
    path = write_wav(tmp_path / "a.wav", noise(8000, channels), 32_000)
    assert abs(len(read_audio(path).waveform) - 4000) < 8
    waveform, rate = read_waveform(path)
    assert waveform.shape == (8000, channels)
    assert rate == 32_000


def test_native_waveform_is_exact(tmp_path):
    samples = noise(7777, 2)
    waveform, rate = read_waveform(write_wav(tmp_path / "a.wav", samples, 22_050))
    assert rate == 22_050
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, samples.astype(np.float32) / 32768)


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.m4a", "aac", 44_100),
        ("a.mp3", "libmp3lame", 44_100),
        ("a.flac", "flac", 48_000),
        ("a.opus", "libopus", 48_000),
        ("a.mka", "libopus", 48_000),
        ("a.aiff", "pcm_s16be", 22_050),
        ("a.wav", "pcm_s24le", 44_100),
        ("a.ogg", "flac", 44_100),
    ],
)
def test_every_kind_of_file(name, codec, rate, clips):
    path = write_clip(
        clips / f"{codec}-{name}", frames=0, audio=codec, seconds=2.0, sample_rate=rate
    )
    sound = read_audio(path)
    assert sound.duration_s == pytest.approx(2.0, abs=0.06)
    strongest = np.abs(np.fft.rfft(sound.waveform[4000:20_000])).argmax()
    assert strongest == 440
    again = read_audio(path.read_bytes())
    np.testing.assert_array_equal(sound.waveform, again.waveform)
    found = probe(path)
    assert (found.kind, found.audio_sampling_rate, found.audio_channels) == ("audio", rate, 2)
    waveform, native = read_waveform(path)
    assert native == rate
    assert waveform.shape[1] == 2


def test_the_soundtrack_of_a_clip(clip):
    sound = read_audio(clip)
    assert sound.duration_s == pytest.approx(1.6, abs=0.06)
    found = probe(clip)
    assert found.kind == "video"
    assert found.has_audio
    assert found.has_video


def test_a_range_is_cut_from_the_whole(clip):
    whole = read_audio(clip).waveform
    part = read_audio(clip, start=0.5, end=1.25).waveform
    np.testing.assert_array_equal(part, whole[8000:20_000])
    np.testing.assert_array_equal(read_audio(clip, start=1.0).waveform, whole[16_000:])
    np.testing.assert_array_equal(read_audio(clip, end=9.0).waveform, whole)
    np.testing.assert_array_equal(read_audio(clip, start=-1.0).waveform, whole)
    np.testing.assert_array_equal(
        read_audio(clip, start=0.25, end=0.25).waveform, whole[4000:20_000]
    )


@pytest.mark.parametrize(
    ("start", "end"), [(1.0, 0.5), (5.0, None), (None, -1.0), (float("nan"), None)]
)
def test_a_range_that_holds_nothing_is_an_error(start, end, clip):
    with pytest.raises(EmptyRangeError):
        read_audio(clip, start=start, end=end)


def test_bad_files(tmp_path, clips):
    silent = write_clip(clips / "no-sound.mp4", frames=3)
    with pytest.raises(NoAudioStreamError):
        read_audio(silent)
    with pytest.raises(MediaNotFoundError):
        read_audio(tmp_path / "missing.wav")
    (tmp_path / "empty.wav").touch()
    with pytest.raises(EmptyMediaError):
        read_audio(tmp_path / "empty.wav")
    with pytest.raises(CorruptMediaError):
        read_audio(b"not a sound at all" * 20)
    with pytest.raises(NoAudioStreamError):
        read_audio(np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(EmptyMediaError):
        read_audio(write_wav(tmp_path / "zero.wav", noise(0)))


def test_a_60_byte_wav_that_promises_more_is_truncated(tmp_path):
    whole = write_wav(tmp_path / "a.wav", noise(16_000)).read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole[:60])
    for read in (read_audio, read_waveform):
        with pytest.raises(TruncatedMediaError) as caught:
            read(cut)
        assert caught.value.readable_s == pytest.approx(8 / 16_000)
    sound = read_audio(cut, allow_partial=True)
    assert len(sound.waveform) == 8
    assert "cut short" in sound.notes[0]


def test_a_wav_written_to_a_pipe_promises_nothing(tmp_path):
    data = bytearray(write_wav(tmp_path / "a.wav", noise(1000)).read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", 0xFFFFFFFF)
    assert len(read_audio(bytes(data)).waveform) == 1000


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.flac", "flac"),
        ("a.m4a", "aac"),
        ("a.mp3", "libmp3lame"),
        ("a.opus", "libopus"),
        ("a.mka", "libopus"),
        ("a.aiff", "pcm_s16be"),
    ],
)
def test_truncated_sound_says_how_much_can_be_read(name, codec, clips, tmp_path):
    options = {"movflags": "faststart"} if name == "a.m4a" else {}
    path = write_clip(
        clips / f"cut-{codec}-{name}",
        frames=0,
        audio=codec,
        seconds=2.0,
        sample_rate=48_000,
        container_options=options,
    )
    data = path.read_bytes()
    cut = tmp_path / name
    cut.write_bytes(data[: len(data) * 3 // 5])
    with pytest.raises(TruncatedMediaError) as caught:
        read_audio(cut)
    assert 0.5 < caught.value.readable_s < 1.5
    partial = read_audio(cut, allow_partial=True)
    assert partial.duration_s == pytest.approx(caught.value.readable_s, abs=0.1)
    assert partial.notes


def test_damaged_flac_is_noticed(clips, tmp_path):
    path = write_clip(clips / "whole.flac", frames=0, audio="flac", seconds=2.0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20] = bytes(range(20))
    with pytest.raises(MediaError):
        read_audio(bytes(data))


@pytest.mark.parametrize(
    "limits",
    [MediaLimits(max_audio_samples=100), MediaLimits(max_duration_s=0.5)],
    ids=["samples", "seconds"],
)
def test_limits_hold(limits, clip):
    with pytest.raises(MediaTooLargeError):
        read_audio(clip, limits=limits)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_damaged_bytes_give_sound_or_a_media_error(data, clips):
    path = clips / data.draw(st.sampled_from(["fuzz.wav", "fuzz.m4a", "fuzz.mp3", "fuzz.opus"]))
    codec = {".wav": "pcm_s16le", ".m4a": "aac", ".mp3": "libmp3lame", ".opus": "libopus"}
    if not path.exists():
        write_clip(path, frames=0, audio=codec[path.suffix], seconds=0.3, sample_rate=48_000)
    sound = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        sound = sound[: data.draw(st.integers(1, len(sound)))]
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(sound) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=8))
        sound[at : at + len(piece)] = piece
    try:
        read = read_audio(bytes(sound), allow_partial=data.draw(st.booleans()))
    except MediaError:
        return
    assert read.waveform.ndim == 1
    assert np.isfinite(read.waveform).all()
