"""Sound of a file or of a clip: 16 kHz mono as released, or as it is in the file."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .containers import STRICT, audio_stream, open_container, read_only
from .errors import (
    CorruptMediaError,
    EmptyMediaError,
    EmptyRangeError,
    NoAudioStreamError,
    TruncatedMediaError,
)
from .image import is_picture
from .integrity import shortfall
from .limits import DEFAULT_LIMITS, MediaLimits
from .packets import ReadAhead
from .source import Source, open_source

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container.input import InputContainer
    from av.packet import Packet

PARTIAL = "Copy or record it again, or pass allow_partial (--allow-partial)"
EXACT_CONTAINERS = ("flac", "wav", "aiff", "mov", "w64", "au", "caf")
"""Containers whose header gives the sound's length exactly."""
EARLY_S, LATE_S = 0.002, 0.25
"""How much less than promised is no shortfall; MP4's lists count encoders' delay in."""
BLOCK_SAMPLES = 8192
"""How many samples go through the resampler at a time."""


@dataclass(frozen=True)
class Sound:
    """`waveform` (samples,) float32 in [-1, 1) at `sampling_rate`, one channel.

    `duration_s` is that of the waveform; `left_s` how many seconds of it, at the end, were not
    decoded, as the packets say. `notes` says what was left out.
    """

    name: str
    waveform: NDArray[np.float32]
    sampling_rate: int
    duration_s: float
    notes: tuple[str, ...] = ()
    left_s: float = 0.0


@dataclass
class _Reading:
    """What has been learnt while decoding one stream."""

    source: Source
    allow_partial: bool
    notes: list[str]
    read_s: float = 0.0
    rate: int = 0
    packets_s: float = 0.0
    """How long the sound is by its packets; 0 where they do not say."""


def read_audio(
    value: object,
    *,
    sampling_rate: int = 16_000,
    start: float | None = None,
    end: float | None = None,
    most_s: float | None = None,
    allow_partial: bool = False,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> Sound:
    """Read the sound as one channel at `sampling_rate`, quantised to 16 bits.

    The released path for soundtracks (`ffmpeg -vn -ac 1 -ar 16000 -f s16le`, then / 32768), with
    the same resampler; it never crops at random. `start` and `end` in seconds cut the resampled
    sound; of that, little more than `most_s` seconds are decoded where the length of the rest is
    known without (`Sound.left_s`). `allow_partial` keeps what can be read of a damaged or truncated
    file, with a note.

    Raises a MediaError: missing, empty, truncated (with `readable_s`), corrupt, without sound
    (NoAudioStreamError), too large, or a range that holds nothing.
    """
    if sampling_rate < 1:
        raise ValueError(f"sampling_rate must be at least 1, got {sampling_rate}")
    source = open_source(value, limits=limits)
    _check_range(source.name, start, end)
    # As for pictures: seconds before the beginning are its beginning, an empty range one second.
    start = None if start is None else max(start, 0.0)
    end = start + 1.0 if start is not None and start == end else end
    first = 0 if start is None else round(start * sampling_rate)
    stop = None if end is None else round(end * sampling_rate)
    reading = _Reading(source, allow_partial, [])
    most = None if most_s is None else first + round(most_s * sampling_rate)
    pieces: list[NDArray[np.int16]] = []
    at = kept = 0
    left_s = 0.0
    for piece in _resampled(source.name, _frames(reading, limits), sampling_rate):
        if len(piece):
            begin, past = max(first - at, 0), len(piece) if stop is None else max(stop - at, 0)
            at += len(piece)
            kept += len(piece[begin:past])
            limits.check_audio(source.name, kept)
            pieces.append(piece[begin:past])
        if stop is not None and at >= stop:
            break
        if most is not None and at >= most and reading.packets_s:
            until = reading.packets_s if end is None else min(end, reading.packets_s)
            left_s = max(until - at / sampling_rate, 0.0)
            break
    if start is not None and not kept:
        raise EmptyRangeError(
            source.name,
            f"the start ({start:g} s) is not before the sound's end ({at / sampling_rate:.3f} s)",
            "Pass an earlier start",
        )
    if at == 0:
        raise EmptyMediaError(source.name, "its sound holds no sample", "Pass another file")
    samples = np.concatenate(pieces) if pieces else np.empty(0, np.int16)
    waveform = samples.astype(np.float32) / np.float32(32768.0)
    duration_s = len(waveform) / sampling_rate
    return Sound(source.name, waveform, sampling_rate, duration_s, tuple(reading.notes), left_s)


def stream_audio(
    value: object, sampling_rate: int = 16_000, limits: MediaLimits = DEFAULT_LIMITS
) -> Iterator[NDArray[np.int16]]:
    """The same samples as `read_audio`, 16 bits, piece by piece; what is damaged is left out.

    Raises a MediaError: missing, empty, without sound, too long.
    """
    source = open_source(value, limits=limits)
    reading = _Reading(source, True, [])
    yield from _resampled(source.name, _frames(reading, limits), sampling_rate)


def _resampled(
    name: str, frames: Iterator[AudioFrame | None], sampling_rate: int
) -> Iterator[NDArray[np.int16]]:
    """Down-mix and resample with libswresample, as the ffmpeg command does; None flushes."""
    target = ("s16", "mono", sampling_rate)  # passes through: nothing is held back
    resampler: AudioResampler | None = None
    setup: tuple[str, str, int] | None = None
    for block, found in _blocks(frames):
        outs: list[AudioFrame] = []
        if resampler is not None and found != setup and setup != target:
            outs = _push(name, resampler, None)
        if block is not None:
            if resampler is None or found != setup:
                resampler, setup = _resampler(sampling_rate), found
            outs += _push(name, resampler, block)
        for out in outs:
            yield np.array(out.to_ndarray(), dtype=np.int16).reshape(-1)


def _blocks(
    frames: Iterator[AudioFrame | None],
) -> Iterator[tuple[AudioFrame | None, tuple[str, str, int] | None]]:
    """Put frames of one form together: (block, its format, layout and rate); None flushes.

    Each call of the resampler costs more than the samples of a frame do.
    """
    from av.audio.fifo import AudioFifo

    held = AudioFifo()
    setup: tuple[str, str, int] | None = None
    for frame in frames:
        found = None if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
        if held.samples and (found != setup or held.samples >= BLOCK_SAMPLES):
            yield held.read(), setup
        if found != setup:
            held, setup = AudioFifo(), found
        if frame is None:
            yield None, None
            continue
        # Without the clock: a gap in the file's times is not filled, as released.
        frame.pts = None
        held.write(frame)
    if held.samples:
        yield held.read(), setup


def _resampler(sampling_rate: int) -> AudioResampler:
    from av.audio.resampler import AudioResampler

    return AudioResampler(format="s16", layout="mono", rate=sampling_rate)


def _push(name: str, resampler: AudioResampler, frame: AudioFrame | None) -> list[AudioFrame]:
    import av.error

    try:
        return resampler.resample(frame)
    except (av.error.FFmpegError, ValueError) as error:
        raise CorruptMediaError(
            name, "its sound is of a form that cannot be resampled", "Convert it to WAV"
        ) from error


def read_waveform(
    value: object,
    *,
    allow_partial: bool = False,
    limits: MediaLimits = DEFAULT_LIMITS,
    notes: list[str] | None = None,
) -> tuple[NDArray[np.float32], int]:
    """Read the sound as it is in the file: (samples, channels) float32 and its rate.

    Integers are divided by their full scale (16 bits: / 32768), as soundfile does. What was left
    out is added to `notes`. Raises like `read_audio`.
    """
    source = open_source(value, limits=limits)
    reading = _Reading(source, allow_partial, [] if notes is None else notes)
    pieces: list[NDArray[np.float32]] = []
    kept = 0
    for frame in _frames(reading, limits):
        if frame is None:
            break
        piece = _as_float(frame)
        kept += piece.size
        limits.check_audio(source.name, kept)
        pieces.append(piece)
    if not kept:
        raise EmptyMediaError(source.name, "its sound holds no sample", "Pass another file")
    if len({piece.shape[1] for piece in pieces}) > 1:
        raise CorruptMediaError(source.name, "its number of channels changes", "Convert it to WAV")
    return np.concatenate(pieces), reading.rate


def _as_float(frame: AudioFrame) -> NDArray[np.float32]:
    """One frame as (samples, channels), full scale 1."""
    channels = frame.layout.nb_channels
    values = np.asarray(frame.to_ndarray())
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if values.dtype == np.uint8:
        return ((values.astype(np.float64) - 128) / 128).astype(np.float32)
    if values.dtype.kind == "i":
        scale = 2.0 ** (8 * values.dtype.itemsize - 1)
        return (values.astype(np.float64) / scale).astype(np.float32)
    return values.astype(np.float32)


def _check_range(name: str, start: float | None, end: float | None) -> None:
    for label, value in (("start", start), ("end", end)):
        if value is not None and not math.isfinite(value):
            raise EmptyRangeError(name, f"the {label} is {value}", "Pass seconds")
    if end is not None and end < 0:
        raise EmptyRangeError(name, f"the end ({end:g} s) lies before it", "Pass a later end")
    if start is not None and end is not None and start > end:
        raise EmptyRangeError(
            name, f"the start ({start:g} s) lies after the end ({end:g} s)", "Swap them"
        )


def _frames(reading: _Reading, limits: MediaLimits) -> Iterator[AudioFrame | None]:
    """Every decoded frame, then None; damage and missing bytes raise or are noted."""
    source = reading.source
    if source.frames is not None or source.is_folder or is_picture(source.head(64)):
        raise NoAudioStreamError(source.name, "pictures have no sound", "Pass a sound file")
    with _measured(reading, limits) as (container, stream, packets):
        promised_s = _promised_s(container, stream)
        missing = shortfall(source)
        stream.codec_context.options = dict(STRICT)
        if missing and not reading.allow_partial:
            with suppress(CorruptMediaError):
                for frame in _decode(reading, packets, promised_s):
                    reading.read_s += _seconds(frame)
            raise _truncated(reading, missing)
        for frame in _decode(reading, packets, promised_s):
            reading.rate = reading.rate or frame.sample_rate
            reading.read_s += _seconds(frame)
            limits.check_duration(source.name, reading.read_s)
            limits.check_sound(
                source.name, frame.layout.nb_channels, frame.sample_rate, reading.read_s
            )
            yield frame
        slack = LATE_S if "mov" in container.format.name else EARLY_S
    if missing is None and promised_s is not None and reading.read_s < promised_s - slack:
        missing = f"its header promises {promised_s:.3f} s"
    if missing is not None:
        error = _truncated(reading, missing)
        if not reading.allow_partial or reading.read_s == 0:
            raise error
        reading.notes.append(error.reason)
    yield None


@contextmanager
def _measured(
    reading: _Reading, limits: MediaLimits
) -> Generator[tuple[InputContainer, AudioStream, Iterator[Packet[AudioStream]]]]:
    """Open the sound, refused by its header, and by what its packets say, as headers may lie.

    Short sound is read from the file once. Raises MediaTooLargeError, NoAudioStreamError.
    """
    import av.error

    source = reading.source
    with open_container(source, limits) as container:
        stream = _stream(container, source.name, limits)
        if container.duration:
            limits.check_duration(source.name, container.duration / 1_000_000)
        read_only(container, stream)
        packets = ReadAhead(container.demux(stream))
        ticks = 0
        most = limits.max_duration_s / float(stream.time_base or 1)
        with suppress(av.error.FFmpegError):  # decoding will say what is wrong
            for packet in packets.first_pass():
                ticks += packet.duration or 0
                if ticks > most:
                    break
        reading.packets_s = seconds = float(ticks * (stream.time_base or 0))
        limits.check_duration(source.name, seconds)
        channels, rate = stream.layout.nb_channels, stream.sample_rate
        limits.check_sound(source.name, channels, rate, seconds)
        if packets.is_whole:
            yield container, stream, packets.again()
            return
    with open_container(source, limits) as container:
        stream = _stream(container, source.name, limits)
        read_only(container, stream)
        yield container, stream, container.demux(stream)


def _stream(container: InputContainer, name: str, limits: MediaLimits) -> AudioStream:
    stream = audio_stream(container, name, limits)
    if stream is None:
        raise NoAudioStreamError(name, "it has no audio stream", "Ask about the pictures alone")
    return stream


def _truncated(reading: _Reading, missing: str) -> TruncatedMediaError:
    return TruncatedMediaError(
        reading.source.name,
        f"cut short: {missing}; {reading.read_s:.3f} s of sound can be read",
        PARTIAL,
        readable_s=reading.read_s,
    )


def _seconds(frame: AudioFrame) -> float:
    return frame.samples / frame.sample_rate if frame.sample_rate else 0.0


def _promised_s(container: InputContainer, stream: AudioStream) -> float | None:
    """Length of the sound by its header, where such headers are exact."""
    exact = any(name in EXACT_CONTAINERS for name in container.format.name.split(","))
    if not exact or stream.duration is None or stream.time_base is None:
        return None
    return float(stream.duration * stream.time_base)


def _decode(
    reading: _Reading, packets: Iterator[Packet[AudioStream]], promised_s: float | None
) -> Iterator[AudioFrame]:
    """Decode packet by packet; raise at damage, or leave the packet out."""
    import av.error

    damaged = 0
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            packet, damaged = None, damaged + 1
            if not reading.allow_partial:
                raise _corrupt(reading) from error
        if packet is None:
            break
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            if isinstance(error, av.error.EOFError):
                continue
            damaged += 1
            if not reading.allow_partial:
                if promised_s is not None and not any(packet.size for packet in packets):
                    missing = f"its header promises {promised_s:.3f} s"
                    raise _truncated(reading, missing) from error
                raise _corrupt(reading) from error
            continue
        yield from frames
    if damaged:
        reading.notes.append(f"{damaged} damaged packets of sound are left out")


def _corrupt(reading: _Reading) -> CorruptMediaError:
    return CorruptMediaError(
        reading.source.name,
        f"damaged: the sound cannot be decoded after {reading.read_s:.3f} s",
        PARTIAL,
    )
