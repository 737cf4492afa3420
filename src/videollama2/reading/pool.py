"""Reading processes: started as they are needed, killed where a medium takes them along."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

from videollama2.media.errors import MediaError
from videollama2.processing.loader import MediaLoader
from videollama2.processing.parts import LoadedMedia
from videollama2.reading.check import check, check_window
from videollama2.reading.task import (
    ReadTask,
    SoundWindows,
    WindowMedia,
    WindowTask,
    address_space,
    serve,
    unpack,
)

MIB = 1024**2
_START_S = 120.0
_STARTS = 3
_LARGEST_REPLY = 2 * 1024**3


class ReaderLostError(MediaError):
    """The process that read this medium died or did not come to an end."""


def prepare(*modules: str) -> None:
    """Begin to import what reading processes need, beside whatever else is going on.

    A fork of a process that has imported everything and opened nothing starts at once. `modules`
    are those of other processes that are started so. The first call counts.
    """
    if "forkserver" in multiprocessing.get_all_start_methods():
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload(["videollama2.reading.task", *modules])
        with _without_interrupts():
            forkserver.ensure_running()


@contextmanager
def _without_interrupts() -> Generator[None]:
    """Ctrl-C is for this process: one that is started in here is deaf to it from its beginning."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Reader:
    """One process and the wire to it.

    Raises:
        ReaderLostError: it died, or the process that starts others did, before it was ready.
    """

    def __init__(self, loader: MediaLoader, memory_bytes: int) -> None:
        kinds = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context(
            "forkserver" if "forkserver" in kinds else "spawn"
        )
        self.wire, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, loader, memory_bytes), daemon=True
        )
        try:
            self.process.start()
            theirs.close()
            if not self.wire.poll(_START_S):
                raise TimeoutError
            self.wire.recv_bytes(16)
        except (EOFError, OSError) as error:  # TimeoutError is one
            theirs.close()
            self.close()
            raise ReaderLostError("medium", "no process to read it could be started") from error
        self._most = self._size() + memory_bytes // 2

    @property
    def has_grown(self) -> bool:
        """Whether half of its memory is gone and not given back: another should take its place."""
        return self._size() > self._most

    def _size(self) -> int:
        try:
            return address_space(self.process.pid or 0)
        except OSError:
            return 0

    def ask(self, task: ReadTask | WindowTask, timeout_s: float) -> bytes:
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
        """End the process; one that has lost the process that started it ends with the wire."""
        if self.process.pid is not None:
            self.process.kill()
            self.process.join()
        with suppress(OSError):
            self.wire.close()


class ReaderPool:
    """So many reading processes; any thread may `read`, and waits until one is free.

    A medium is read in at most `timeout_s`, by a process that grows by at most `memory_bytes`.
    `on_lost` is called for each process that died or was killed over a medium.
    """

    def __init__(
        self,
        loader: MediaLoader,
        *,
        readers: int = 2,
        timeout_s: float = 60.0,
        memory_bytes: int = 2048 * MIB,
        on_lost: Callable[[], object] = lambda: None,
    ) -> None:
        self._loader = loader
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._on_lost = on_lost
        self._all: set[_Reader] = set()
        self._lock = threading.Lock()
        self._closings = 0
        self._free: queue.SimpleQueue[_Reader | None] = queue.SimpleQueue()
        for _ in range(readers):
            self._free.put(None)

    def start_one(self) -> None:
        """Start a process, so that the first medium need not wait for it."""
        reader = self._free.get()
        try:
            reader = self._running(reader)
        finally:
            self._free.put(reader)

    def read(self, task: ReadTask) -> LoadedMedia | SoundWindows:
        """Read one medium.

        Raises:
            MediaError: it cannot be read; `ReaderLostError` where it took its process along.
        """
        reply = self._ask(task)
        if isinstance(reply, WindowMedia):
            raise ReaderLostError("medium", "the process that read it answers nonsense")
        return reply

    def read_window(self, task: WindowTask) -> WindowMedia:
        """Read one window of a clip; with one reader, the next one goes on from there.

        Raises:
            MediaError: the clip cannot be read; `ReaderLostError` where it took its process along.
        """
        reply = self._ask(task)
        if not isinstance(reply, WindowMedia):
            raise ReaderLostError("medium", "the process that read it answers nonsense")
        return reply

    def _ask(self, task: ReadTask | WindowTask) -> LoadedMedia | SoundWindows | WindowMedia:
        """Ask a free process.

        Raises:
            MediaError: it cannot be read; `ReaderLostError` where it took its process along.
        """
        reader = self._free.get()
        try:
            reader = self._running(reader)
            reply = unpack(reader.ask(task, self._timeout_s))
            if isinstance(reply, WindowMedia) != isinstance(task, WindowTask):
                raise ValueError("the reply is to another task")
            if isinstance(reply, WindowMedia):
                check_window(reply, self._loader)
            elif isinstance(task, ReadTask):
                check(reply, task.part, self._loader)
            return reply
        except ReaderLostError:
            reader = self._drop(reader)
            raise
        except MediaError:
            raise
        except (ValueError, KeyError, TypeError) as error:  # no reply that we would send
            reader = self._drop(reader)
            raise ReaderLostError("medium", "the process that read it answers nonsense") from error
        finally:
            if reader is not None and reader.has_grown:
                reader = self._end(reader)
            self._free.put(reader)

    def close(self) -> None:
        """End every process; reading after that starts them anew."""
        with self._lock:
            self._closings += 1
            readers, self._all = self._all, set()
        for reader in readers:
            reader.close()

    def _running(self, reader: _Reader | None) -> _Reader:
        if reader is not None:
            if reader.process.is_alive():
                return reader
            self._end(reader)
        closings = self._closings
        reader = self._started()
        with self._lock:
            if closings == self._closings:
                self._all.add(reader)
                return reader
        reader.close()  # nobody else would: closing went by while it was being started
        raise ReaderLostError("medium", "reading was ended")

    def _started(self) -> _Reader:
        for _ in range(_STARTS - 1):
            with suppress(ReaderLostError):  # no medium is to blame
                return _Reader(self._loader, self._memory_bytes)
        return _Reader(self._loader, self._memory_bytes)

    def _drop(self, reader: _Reader | None) -> None:
        self._on_lost()
        if reader is not None:
            self._end(reader)

    def _end(self, reader: _Reader) -> None:
        with self._lock:
            self._all.discard(reader)
        reader.close()
