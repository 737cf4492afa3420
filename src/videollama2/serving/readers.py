"""Processes that read media for the server: one that crashes or hangs costs its medium alone."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from videollama2.media.errors import MediaError
from videollama2.processing.loader import MediaLoader
from videollama2.processing.parts import LoadedMedia
from videollama2.serving.metrics import Metrics
from videollama2.serving.reading import ReadTask, SoundWindows, serve, unpack
from videollama2.serving.settings import ServerSettings

_START_S = 120.0
_LARGEST_REPLY = 2 * 1024**3


class ReaderLostError(MediaError):
    """The process that read this medium died or did not come to an end."""


def prepare() -> None:
    """Begin to import what reading processes need, beside whatever else is going on.

    A fork of a process that has imported everything and opened nothing starts at once.
    """
    if "forkserver" in multiprocessing.get_all_start_methods():
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload(["videollama2.serving.reading"])
        forkserver.ensure_running()


class _Reader:
    """One process and the wire to it."""

    def __init__(self, loader: MediaLoader, memory_bytes: int) -> None:
        kinds = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context(
            "forkserver" if "forkserver" in kinds else "spawn"
        )
        self.wire, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, loader, memory_bytes), daemon=True
        )
        self.process.start()
        theirs.close()
        if not self.wire.poll(_START_S):
            self.close()
            raise ReaderLostError("medium", "no process to read it could be started")
        self.wire.recv_bytes(16)

    def ask(self, task: ReadTask, timeout_s: float) -> bytes:
        """The reply.

        Raises:
            ReaderLostError: the process has died, or is too slow and was killed.
        """
        deadline = time.monotonic() + timeout_s
        try:
            self.wire.send(task)
            if self.wire.poll(max(deadline - time.monotonic(), 0)):
                return self.wire.recv_bytes(_LARGEST_REPLY)
        except (EOFError, OSError) as error:
            raise ReaderLostError("medium", "the process that read it has died") from error
        raise ReaderLostError("medium", f"reading it takes longer than {timeout_s:g} s")

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        with suppress(OSError):
            self.wire.close()


class Readers:
    """A few reading processes, each with a thread that waits for it."""

    def __init__(self, loader: MediaLoader, settings: ServerSettings, metrics: Metrics) -> None:
        self._loader = loader
        self._settings = settings
        self._metrics = metrics
        self._local = threading.local()
        self._all: set[_Reader] = set()
        self._threads = ThreadPoolExecutor(settings.readers, thread_name_prefix="reader")

    def start(self) -> None:
        """Start the processes, so that the first medium need not wait for them."""
        for _ in range(self._settings.readers):
            self._threads.submit(self._reader)

    async def read(self, task: ReadTask) -> LoadedMedia | SoundWindows:
        """Read one medium.

        Raises:
            MediaError: it cannot be read; `ReaderLostError` where it took its process along.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, task)

    def close(self) -> None:
        """End every process."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for reader in list(self._all):
            reader.close()

    def _reader(self) -> _Reader:
        reader: _Reader | None = getattr(self._local, "reader", None)
        if reader is None or not reader.process.is_alive():
            reader = _Reader(self._loader, self._settings.reader_memory_bytes)
            self._local.reader = reader
            self._all.add(reader)
        return reader

    def _read(self, task: ReadTask) -> LoadedMedia | SoundWindows:
        reader = self._reader()
        try:
            with self._metrics.read_seconds.time():
                reply = reader.ask(task, self._settings.read_timeout_s)
            return unpack(reply)
        except ReaderLostError:
            self._drop(reader)
            raise
        except MediaError:
            raise
        except (ValueError, KeyError, TypeError) as error:  # no reply that we would send
            self._drop(reader)
            raise ReaderLostError("medium", "the process that read it answers nonsense") from error

    def _drop(self, reader: _Reader) -> None:
        self._metrics.readers_lost.inc()
        self._all.discard(reader)
        self._local.reader = None
        reader.close()
