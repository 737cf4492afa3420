"""The readers on a broken file, in a process of their own, and whether what they gave is right.

A wrong answer: a picture (or sound) that differs grossly from all those of the unbroken file, and
from what two others make of the broken one at that place, read from its beginning: ffmpeg's
command (where there is one) and PyAV's plain decoding. How a picture is turned is left out, as
players differ there. Where one of the two sees what we see, the change is one that nobody can know
of: valid data with other content. Where ffmpeg's strict mode refuses a JPEG, GIF or BMP that we
read, nobody can tell who is right, as these hold no sums: such files are counted apart, as
undecided. A GIF's pixels that no frame has painted have no colour.
"""

from __future__ import annotations

import gc
import io
import multiprocessing
import shutil
import subprocess
import tempfile
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from PIL import Image

from .seeds import SIZE, Seed

NUM_FRAMES = 4
GROSS = 12.0
"""Mean difference of a picture's values (0 to 255) from which it counts as another picture."""
GROSS_SOUND = 0.1
"""The same for sound, whose tone has an effective value of 0.28."""
TIMEOUT_S = 30.0
WITHOUT_SUMS = ("jpg", "gif", "bmp")
HAS_FFMPEG = shutil.which("ffmpeg") is not None
"""Without it PyAV's plain decoding is the only witness: the same libraries, none of our code."""
STRICT = ("-xerror", "-err_detect", "crccheck+bitstream+buffer+explode")


@dataclass(frozen=True)
class Outcome:
    """`how`: "read", "refused" (with the error's name), "error" (no error of ours), "crash" or
    "hang"; what was read."""

    how: str
    reason: str = ""
    pictures: tuple[Any, ...] = ()
    indices: tuple[int, ...] = ()
    sound: Any = None


def read(kind: str, data: bytes, num_frames: int = NUM_FRAMES) -> Outcome:
    """As the server's readers do: a clip with its sound, a sound, or a picture."""
    from videollama2.media import MediaError, read_audio, read_image, read_video
    from videollama2.media.errors import EmptyMediaError, EmptyRangeError, NoAudioStreamError
    from videollama2.serving.settings import MediaRules

    limits = MediaRules().limits
    try:
        if kind == "image":
            return Outcome("read", "", (read_image(data, limits=limits),), (0,))
        if kind == "audio":
            return Outcome("read", sound=read_audio(data, limits=limits).waveform)
        clip = read_video(data, num_frames=num_frames, limits=limits)
        try:
            sound = read_audio(data, limits=limits).waveform
        except (NoAudioStreamError, EmptyMediaError, EmptyRangeError):
            sound = None
        return Outcome("read", "", tuple(clip.frames), clip.indices, sound)
    except MediaError as error:
        return Outcome("refused", type(error).__name__)
    except MemoryError:
        return Outcome("refused", "MemoryError")
    except Exception as error:  # noqa: BLE001  (what the readers must never raise)
        return Outcome("error", f"{type(error).__name__}: {error}"[:300])


def _serve(wire: Any) -> None:
    from videollama2.reading.task import limit_memory

    limit_memory(2 * 1024**3)
    gc.freeze()
    while True:
        task = wire.recv()
        if task is None:
            return
        outcome = read(*task)
        # Pictures larger than the seeds' are no use to a comparison.
        small = [picture[:512, :512] for picture in outcome.pictures]
        sound = None if outcome.sound is None else outcome.sound[: 16_000 * 20]
        wire.send(Outcome(outcome.how, outcome.reason, tuple(small), outcome.indices, sound))
        gc.collect()


class Reader:
    """Reads in a process that is started again when a file has taken it along."""

    def __init__(self) -> None:
        self.restarts = -1
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.wire, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.restarts += 1

    def read(self, kind: str, data: bytes, num_frames: int = NUM_FRAMES) -> Outcome:
        try:
            self.wire.send((kind, data, num_frames))
            if self.wire.poll(TIMEOUT_S + (30 if not self.restarts else 0)):
                return self.wire.recv()
            outcome = Outcome("hang")
        except (EOFError, OSError):
            outcome = Outcome("crash", str(self.process.exitcode))
        self.close()
        self._start()
        return outcome

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.wire.close()


def judge(seed: Seed, data: bytes, whole: Outcome, found: Outcome) -> tuple[str, str]:
    """("right", "wrong" or "undecided", why) of what was read of a broken file."""
    if found.pictures:
        strange = [
            picture
            for picture in found.pictures
            if not any(_alike(picture, other) for other in whole.pictures)
        ]
        witness = _pictures_by_ffmpeg(data) if strange else []
        second = _pictures_by_pyav(data) if strange else []
        without_sums = seed.name in WITHOUT_SUMS and data[:4] == seed.data[:4]
        for index, picture in zip(found.indices, found.pictures, strict=True):
            near = (*_at(witness, index), *_at(second, index), *whole.pictures)
            if any(_alike(picture, other) for other in near):
                continue
            elsewhere = any(_alike(picture, other) for other in witness)
            place = "elsewhere" if elsewhere else "nowhere"
            reason = f"picture {index} is {place} in ffmpeg's {len(witness)}"
            refused = not witness or not _pictures_strictly(data)
            return ("undecided" if without_sums and refused else "wrong"), reason
    if found.sound is not None and not _sounds_alike(found.sound, whole.sound):
        witness, length = _sound_by_ffmpeg(data), len(found.sound)
        # Some releases of ffmpeg's command keep Opus' lead-in, 6.5 ms that are to be skipped.
        placed = (witness[:length], witness[max(len(witness) - length, 0) :])
        if not any(_sounds_alike(found.sound, one) for one in placed):
            return "wrong", f"sound of {length} samples, ffmpeg has {len(witness)}"
    return "right", ""


def _at(witness: list[Any], index: int) -> list[Any]:
    return witness[max(index - 1, 0) : index + 2]


def _alike(picture: Any, other: Any) -> bool:
    """`other` may have a fourth channel that says which of its pixels count."""
    picture, other = _small(picture)[..., :3].astype(np.int16), _small(other)
    painted = other[..., 3] > 250 if other.shape[2] == 4 else np.ones(other.shape[:2], bool)
    colours = other[..., :3].astype(np.int16)
    turned = [np.rot90(side, quarter) for side in (picture, picture[::-1]) for quarter in range(4)]
    return not painted.any() or any(
        float(np.abs(one - colours)[painted].mean()) < GROSS for one in turned
    )


def _small(picture: Any) -> Any:
    """The picture at one size, as some files change theirs on the way."""
    if picture.shape[:2] == (SIZE, SIZE):
        return picture
    return np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BOX))


def _sounds_alike(sound: Any, other: Any) -> bool:
    if other is None or abs(len(sound) - len(other)) > 1600:
        return False
    length = min(len(sound), len(other))
    difference = sound[:length] - other[:length]
    return length == 0 or float(np.sqrt(np.mean(difference**2))) < GROSS_SOUND


def _ffmpeg(data: bytes, arguments: list[str], options: tuple[str, ...] = ()) -> bytes:
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(data)
        command = ["ffmpeg", "-nostdin", "-v", "error", *options]
        command += ["-i", file.name, *arguments, "-"]
        try:
            done = subprocess.run(command, capture_output=True, check=False, timeout=30)
        except subprocess.TimeoutExpired:
            return b""
    return done.stdout


def _pictures_by_ffmpeg(data: bytes, options: tuple[str, ...] = ()) -> list[Any]:
    if not HAS_FFMPEG:
        return _pictures_by_pyav(data)
    raw = _ffmpeg(
        data, ["-an", "-fps_mode", "passthrough", "-frames:v", "300", "-f", "rawvideo",
               "-vf", f"scale={SIZE}:{SIZE}:flags=area", "-pix_fmt", "rgba"], options
    )  # fmt: skip
    size = SIZE * SIZE * 4
    pictures = np.frombuffer(raw[: len(raw) // size * size], np.uint8)
    return list(pictures.reshape(-1, SIZE, SIZE, 4))


def _pictures_strictly(data: bytes) -> list[Any]:
    """None where a strict player refuses the file."""
    if HAS_FFMPEG:
        return _pictures_by_ffmpeg(data, STRICT)
    return _pictures_by_pyav(data, strictly=True)


def _pictures_by_pyav(data: bytes, strictly: bool = False) -> list[Any]:
    """Every picture from the beginning, without seeking; damage is patched over, or ends it all."""
    found: list[Any] = []
    options = {"err_detect": "crccheck+bitstream+buffer+explode"} if strictly else {}
    try:
        with av.open(io.BytesIO(data), options=options) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            stream.codec_context.options = options
            for packet in container.demux(stream):
                with nullcontext() if strictly else suppress(av.error.FFmpegError):
                    found += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
                if len(found) > 300:
                    break
    except (av.error.FFmpegError, ValueError, IndexError):
        return [] if strictly else found
    return found


def _sound_by_ffmpeg(data: bytes) -> Any:
    if not HAS_FFMPEG:
        return _sound_by_pyav(data)
    raw = _ffmpeg(data, ["-vn", "-t", "20", "-ac", "1", "-ar", "16000", "-f", "s16le"])
    return np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.float32) / 32768


def _sound_by_pyav(data: bytes) -> Any:
    """20 s of sound, mono at 16 kHz, damage patched over."""
    pieces = [np.zeros(0, np.float32)]
    resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
    unreadable = (av.error.FFmpegError, ValueError, IndexError)
    with suppress(*unreadable), av.open(io.BytesIO(data)) as container:
        for packet in container.demux(container.streams.audio[0]):
            with suppress(av.error.FFmpegError):
                for frame in packet.decode():
                    pieces += [one.to_ndarray()[0] for one in resampler.resample(frame)]
    return np.concatenate(pieces)[: 20 * 16_000]
