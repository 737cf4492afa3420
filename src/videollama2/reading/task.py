"""One medium read in a process of its own, and what comes back: numbers and words, no objects.

What reads hostile bytes may be taken over by them, so its replies are JSON and safetensors, which
can only ever be data.
"""

from __future__ import annotations

import gc
import io
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of

from videollama2.media import errors
from videollama2.media.audio import read_audio
from videollama2.media.errors import MediaError
from videollama2.media.limits import MediaLimits
from videollama2.media.probe import probe
from videollama2.media.windows import Window, read_windows
from videollama2.processing.fbank import SAMPLING_RATE, fbank
from videollama2.processing.loader import MediaLoader
from videollama2.processing.parts import (
    AudioInput,
    ImageInput,
    LoadedMedia,
    MediaReport,
    Part,
    VideoInput,
)
from videollama2.processing.sound import native_window

_LENGTH_BYTES = 8
LEVELS, THUMBNAIL_WIDTH = 20, 192


@dataclass(frozen=True)
class AnyInput:
    """A medium whose kind is found out where it is read; the fields as in `VideoInput`."""

    source: Any
    start: float | None = None
    end: float | None = None
    num_frames: int | None = None
    sound: bool | None = None

    def part(self, limits: MediaLimits) -> Part:
        """What it is.

        Raises:
            MediaError: it cannot be opened.
        """
        kind = probe(self.source, limits=limits).kind
        if kind == "image":
            return ImageInput(self.source)
        if kind == "audio":
            return AudioInput(self.source, self.start, self.end)
        return VideoInput(self.source, self.start, self.end, self.num_frames, self.sound)


@dataclass(frozen=True)
class ReadTask:
    """A medium to read; `window_s` asks for its sound alone, cut into windows of that length."""

    part: Part | AnyInput
    window_s: float | None = None


@dataclass(frozen=True, eq=False)
class SoundWindows:
    """Log mel energies (frames, mel bins) of each window, `window_s` long but for the last."""

    duration_s: float
    window_s: float
    features: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class WindowTask:
    """Window `index` of a clip cut into windows of `every_s` seconds, `num_frames` of each."""

    source: str
    every_s: float
    num_frames: int
    index: int


@dataclass(frozen=True, eq=False)
class WindowMedia:
    """One window, read; `media` None where nothing of it can be read, `end_s` None past the end.

    `thumbnail` is a JPEG of its middle, empty without pictures; `levels` the sound's loudness
    (root mean square, 0 to 1) in equal parts of the window.
    """

    start_s: float
    end_s: float | None
    duration_s: float | None
    media: LoadedMedia | None
    thumbnail: bytes
    levels: tuple[float, ...]


class WindowReader:
    """Goes on where the last window ended; any other window is looked up."""

    def __init__(self) -> None:
        self._at: WindowTask | None = None
        self._windows: Iterator[Window] = iter(())

    def answer(self, loader: MediaLoader, task: WindowTask) -> bytes:
        """The reply to one task."""
        if task != self._at:
            self._windows = read_windows(
                task.source,
                every_s=task.every_s,
                num_frames=task.num_frames,
                with_sound=loader.has_audio,
                first=task.index,
                limits=loader.limits,
            )
        self._at = None
        window = next(self._windows, None)
        if window is None:
            return _pack({"end_s": None, "start_s": 0.0, "duration_s": None, "levels": []}, {})
        self._at = replace(task, index=task.index + 1)
        return _pack_window(loader, window)


def serve(wire: Connection, loader: MediaLoader, memory_bytes: int) -> None:
    """Answer tasks until nobody asks: the body of a reading process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # whoever started it ends it
    limit_memory(memory_bytes)
    torch.set_num_threads(1)
    gc.freeze()  # what is there now stays: the collections below need not look at it
    with suppress(EOFError, OSError):
        wire.send_bytes(b"ready")
        windows = WindowReader()
        while True:
            task: ReadTask | WindowTask = wire.recv()  # from our own side
            wire.send_bytes(answer(loader, task, windows))
            # An error's traceback holds decoders, their threads and buffers, in a circle.
            gc.collect()


def limit_memory(more_bytes: int) -> None:
    """Let this process grow by so much and no further, and leave no core behind."""
    try:
        import resource
    except ImportError:  # not on every system
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError):
        now = address_space()
        resource.setrlimit(resource.RLIMIT_AS, (now + more_bytes, now + more_bytes))


def address_space(process: int | str = "self") -> int:
    """Bytes of addresses that a process has taken.

    Raises:
        OSError: it is gone, or this system does not say.
    """
    with open(f"/proc/{process}/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def answer(
    loader: MediaLoader, task: ReadTask | WindowTask, windows: WindowReader | None = None
) -> bytes:
    """The reply to one task, whatever happens."""
    try:
        if isinstance(task, WindowTask):
            return (windows or WindowReader()).answer(loader, task)
        if task.window_s is not None:
            return _pack_windows(loader, task)
        part = task.part
        loaded = loader.load(part.part(loader.limits) if isinstance(part, AnyInput) else part)
        return pack(loaded)
    except MediaError as error:
        words = {"name": error.name, "reason": error.reason, "remedy": error.remedy}
        return _pack({"error": type(error).__name__, **words}, {})
    except MemoryError:
        words = {"name": "", "reason": "it takes too much memory", "remedy": "Shorten it"}
        return _pack({"error": "MediaTooLargeError", **words}, {})
    except ValueError as error:  # asked of a model that cannot: our own words
        return _pack({"error": "UnsupportedMediaError", "name": "", "reason": str(error)[:500],
                      "remedy": "Pass another medium"}, {})  # fmt: skip
    except Exception as error:  # noqa: BLE001  (whatever it is, it is about this medium)
        words = {"name": "", "reason": type(error).__name__, "remedy": "Pass another file"}
        memory = "alloc" in str(error)  # torch says it in a RuntimeError
        return _pack({"error": "MediaTooLargeError" if memory else "MediaError", **words}, {})


def pack(loaded: LoadedMedia) -> bytes:
    """A medium as bytes, for `unpack`."""
    tensors = {"pixels": loaded.pixels, "features": loaded.features}
    present = {name: one.contiguous() for name, one in tensors.items() if one is not None}
    return _pack({"kind": loaded.kind, "report": asdict(loaded.report)}, present)


def unpack(reply: bytes) -> LoadedMedia | SoundWindows | WindowMedia:
    """What a reading process sent.

    Raises:
        MediaError: the medium could not be read.
        ValueError: the reply is no reply.
    """
    try:
        return _unpacked(reply)
    except (SafetensorError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("the reply is no reply") from error


def _unpacked(reply: bytes) -> LoadedMedia | SoundWindows | WindowMedia:
    length = int.from_bytes(reply[:_LENGTH_BYTES], "little")
    head: dict[str, Any] = json.loads(reply[_LENGTH_BYTES : _LENGTH_BYTES + length])
    if "error" in head:
        kind: Any = getattr(errors, head["error"], MediaError)
        if kind is errors.TruncatedMediaError:
            raise kind(head["name"], head["reason"], head["remedy"])
        raise (kind if isinstance(kind, type) and issubclass(kind, MediaError) else MediaError)(
            head["name"], head["reason"], head["remedy"]
        )
    tensors = tensors_of(reply[_LENGTH_BYTES + length :])
    if "window_s" in head:
        windows = tuple(tensors[str(index)] for index in range(len(tensors)))
        return SoundWindows(float(head["duration_s"]), float(head["window_s"]), windows)
    loaded = None
    if "report" in head:
        report = head["report"]
        report["notes"] = tuple(report["notes"])
        report["timestamps_s"] = tuple(float(one) for one in report["timestamps_s"])
        pixels, features = tensors.get("pixels"), tensors.get("features")
        loaded = LoadedMedia(head["kind"], pixels, features, MediaReport(**report))
    if "levels" in head:
        thumbnail = tensors.get("thumbnail")
        return WindowMedia(
            float(head["start_s"]),
            None if head["end_s"] is None else float(head["end_s"]),
            None if head["duration_s"] is None else float(head["duration_s"]),
            loaded,
            b"" if thumbnail is None else thumbnail.numpy().tobytes(),
            tuple(float(level) for level in head["levels"]),
        )
    if loaded is None:
        raise ValueError("a reply without a report")
    return loaded


def _pack_window(loader: MediaLoader, window: Window) -> bytes:
    head: dict[str, Any] = {"start_s": window.start_s, "end_s": window.end_s}
    head |= {"duration_s": window.duration_s, "levels": []}
    tensors: dict[str, torch.Tensor] = {}
    loaded = None
    if window.clip is not None:
        loaded = loader.load_read(window.clip, window.sound)
        tensors["thumbnail"] = _thumbnail(window.clip.frames[len(window.clip.frames) // 2])
    elif window.sound is not None and loader.has_audio:
        loaded = loader.load(AudioInput(window.sound))
    if window.sound is not None:
        head["levels"] = [
            round(float(np.sqrt(np.mean(part**2))) if len(part) else 0.0, 4)
            for part in np.array_split(window.sound.waveform, LEVELS)
        ]
    if loaded is not None:
        head |= {"kind": loaded.kind, "report": asdict(loaded.report)}
        read = {"pixels": loaded.pixels, "features": loaded.features}
        tensors |= {name: one.contiguous() for name, one in read.items() if one is not None}
    return _pack(head, tensors)


def _thumbnail(frame: Any) -> torch.Tensor:
    picture: Any = Image.fromarray(frame)
    picture.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=60)
    return _tensor(np.frombuffer(file.getvalue(), dtype=np.uint8).copy())


def _pack_windows(loader: MediaLoader, task: ReadTask) -> bytes:
    part: Any = task.part
    window_s = task.window_s or 0.0
    sound = read_audio(part.source, start=part.start, end=part.end, limits=loader.limits)
    step = round(window_s * SAMPLING_RATE)
    tensors: dict[str, torch.Tensor] = {}
    for index, first in enumerate(range(0, len(sound.waveform), step)):
        window = native_window(sound.waveform[first : first + step], window_s, loader.patch)
        tensors[str(index)] = fbank(_tensor(window), loader.num_mel_bins)
    return _pack({"duration_s": sound.duration_s, "window_s": window_s}, tensors)


def _tensor(array: Any) -> torch.Tensor:
    untyped: Any = torch
    return untyped.from_numpy(array)


def _pack(head: dict[str, Any], tensors: dict[str, torch.Tensor]) -> bytes:
    words = json.dumps(head).encode()
    return len(words).to_bytes(_LENGTH_BYTES, "little") + words + bytes_of(tensors)
