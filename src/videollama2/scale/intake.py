"""Clips read ahead of the model, in processes that a bad one cannot take the run down with."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from videollama2.media.errors import MediaError, MediaNotFoundError
from videollama2.media.limits import MediaLimits
from videollama2.processing.loader import MediaLoader
from videollama2.processing.parts import LoadedMedia
from videollama2.reading.pool import MIB, ReaderPool
from videollama2.reading.task import AnyInput, ReadTask
from videollama2.scale.clips import Clip, Failure, Slice
from videollama2.scale.parquet import read_cell

MISSING = "there is no such file"


@dataclass(frozen=True)
class ReadSettings:
    """How clips are read: `readers` processes, each clip within `timeout_s` and `memory_bytes`.

    `num_frames` and `sound` as `VideoInput` has them.
    """

    num_frames: int | None = None
    sound: bool | None = None
    readers: int = 2
    timeout_s: float = 120.0
    memory_bytes: int = 4096 * MIB
    max_medium_bytes: int = 1024 * MIB


@dataclass(frozen=True, eq=False)
class Taken:
    """A clip that was read, or why it was not."""

    clip: Clip
    media: LoadedMedia | Failure


class ClipReader:
    """Reads clips, several at a time; any thread may `read`."""

    def __init__(self, loader: MediaLoader, settings: ReadSettings) -> None:
        limits = replace(loader.limits, max_memory_bytes=settings.max_medium_bytes)
        self.settings = settings
        self._limits = limits
        self._pool = ReaderPool(
            replace(loader, limits=limits),
            readers=settings.readers,
            timeout_s=settings.timeout_s,
            memory_bytes=settings.memory_bytes,
        )

    def read(self, clip: Clip) -> Taken:
        """Read one clip; what is wrong with it is in the result."""
        if clip.problem is not None:
            return Taken(clip, Failure("unreadable", clip.problem))
        try:
            medium = medium_of(clip, self._limits)
            part = AnyInput(
                medium, clip.start, clip.end, self.settings.num_frames, self.settings.sound
            )
            media = self._pool.read(ReadTask(part))
        except MediaNotFoundError as error:
            return Taken(clip, Failure("missing", _words(error)))
        except MediaError as error:
            return Taken(clip, Failure("unreadable", _words(error)))
        except FileNotFoundError:
            return Taken(clip, Failure("missing", MISSING))
        except (OSError, ValueError) as error:  # an archive or table that changed meanwhile
            return Taken(clip, Failure("unreadable", str(error) or type(error).__name__))
        if not isinstance(media, LoadedMedia):
            return Taken(clip, Failure("unreadable", "no frames and no sound came of it"))
        return Taken(clip, replace(media, report=replace(media.report, path=clip.id)))

    def close(self) -> None:
        """End the processes."""
        self._pool.close()


class Intake:
    """Clips in their order, read ahead by as many as there are readers, and some more."""

    def __init__(self, clips: Iterable[Clip], reader: ClipReader, *, ahead: int = 2) -> None:
        self._clips: Iterator[Clip] = iter(clips)
        self._reader = reader
        self._most = reader.settings.readers + ahead
        self._threads = ThreadPoolExecutor(reader.settings.readers, thread_name_prefix="clip")
        self._coming: deque[Future[Taken]] = deque()
        self._fill()

    def take(self, wait: bool) -> Taken | None:
        """The next clip; None where there is none, or none yet and `wait` is False."""
        if not self._coming or not (wait or self._coming[0].done()):
            return None
        taken = self._coming.popleft().result()
        self._fill()
        return taken

    def close(self) -> None:
        """Read no further."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._reader.close()
        self._threads.shutdown()

    def _fill(self) -> None:
        while len(self._coming) < self._most:
            clip = next(self._clips, None)
            if clip is None:
                return
            self._coming.append(self._threads.submit(self._reader.read, clip))


def medium_of(clip: Clip, limits: MediaLimits) -> str | bytes:
    """What is to be read: a path or address, or the bytes out of an archive or table.

    Raises:
        MediaTooLargeError: more bytes than may be held.
        OSError, ValueError: the archive or table cannot be read there.
    """
    if clip.inside is None:
        return clip.path
    if isinstance(clip.inside, Slice):
        limits.check_bytes(clip.id, clip.inside.size, in_memory=True)
        with open(clip.path, "rb") as file:
            file.seek(clip.inside.offset)
            data = file.read(clip.inside.size)
        if len(data) < clip.inside.size:
            raise ValueError(f"its archive ends after {len(data)} of its {clip.inside.size} bytes")
    else:
        data = read_cell(clip.path, clip.inside)
        limits.check_bytes(clip.id, len(data), in_memory=True)
    return data


def default_readers(workers: int = 1) -> int:
    """Readers of each of so many workers on this machine."""
    return max(1, min((os.cpu_count() or 1) // workers, 8))


def _words(error: MediaError) -> str:
    """The error without the medium's name, which the row has."""
    return f"{error.reason}. {error.remedy}" if error.remedy else error.reason
