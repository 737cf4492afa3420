"""One medium read in a process of its own, and what comes back: numbers and words, no objects.

What reads hostile bytes may be taken over by them, so its replies are JSON and safetensors, which
can only ever be data.
"""

from __future__ import annotations

import gc
import json
import os
import signal
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of

from videollama2.media import errors
from videollama2.media.audio import read_audio
from videollama2.media.errors import MediaError
from videollama2.processing.fbank import SAMPLING_RATE, fbank
from videollama2.processing.loader import MediaLoader
from videollama2.processing.parts import LoadedMedia, MediaReport, Part
from videollama2.processing.sound import native_window

_LENGTH_BYTES = 8


@dataclass(frozen=True)
class ReadTask:
    """A medium to read; `window_s` asks for its sound alone, cut into windows of that length."""

    part: Part
    window_s: float | None = None


@dataclass(frozen=True, eq=False)
class SoundWindows:
    """Log mel energies (frames, mel bins) of each window, `window_s` long but for the last."""

    duration_s: float
    window_s: float
    features: tuple[torch.Tensor, ...]


def serve(wire: Connection, loader: MediaLoader, memory_bytes: int) -> None:
    """Answer tasks until nobody asks: the body of a reading process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # whoever started it ends it
    limit_memory(memory_bytes)
    torch.set_num_threads(1)
    gc.freeze()  # what is there now stays: the collections below need not look at it
    with suppress(EOFError, OSError):
        wire.send_bytes(b"ready")
        while True:
            task: ReadTask = wire.recv()  # from our own side
            wire.send_bytes(answer(loader, task))
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


def answer(loader: MediaLoader, task: ReadTask) -> bytes:
    """The reply to one task, whatever happens."""
    try:
        if task.window_s is not None:
            return _pack_windows(loader, task)
        loaded = loader.load(task.part)
        tensors = {"pixels": loaded.pixels, "features": loaded.features}
        present = {name: one.contiguous() for name, one in tensors.items() if one is not None}
        return _pack({"kind": loaded.kind, "report": asdict(loaded.report)}, present)
    except MediaError as error:
        words = {"name": error.name, "reason": error.reason, "remedy": error.remedy}
        return _pack({"error": type(error).__name__, **words}, {})
    except MemoryError:
        words = {"name": "", "reason": "it takes too much memory", "remedy": "Shorten it"}
        return _pack({"error": "MediaTooLargeError", **words}, {})
    except Exception as error:  # noqa: BLE001  (whatever it is, it is about this medium)
        words = {"name": "", "reason": type(error).__name__, "remedy": "Pass another file"}
        memory = "alloc" in str(error)  # torch says it in a RuntimeError
        return _pack({"error": "MediaTooLargeError" if memory else "MediaError", **words}, {})


def unpack(reply: bytes) -> LoadedMedia | SoundWindows:
    """What a reading process sent.

    Raises:
        MediaError: the medium could not be read.
        ValueError: the reply is no reply.
    """
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
    report = head["report"]
    report["notes"] = tuple(report["notes"])
    report["timestamps_s"] = tuple(float(one) for one in report["timestamps_s"])
    pixels, features = tensors.get("pixels"), tensors.get("features")
    return LoadedMedia(head["kind"], pixels, features, MediaReport(**report))


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
