"""Several processes on one machine, each with a model; one that dies costs no clip."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from videollama2.scale.captioner import write_rows
from videollama2.scale.clips import Clip, Failure
from videollama2.scale.errors import BulkError
from videollama2.scale.intake import ClipReader, Intake, Taken
from videollama2.scale.rows import failed
from videollama2.scale.work import Work

NEEDS = ("videollama2.scale.crew", "videollama2.checkpoints.load")
"""What a process imports first."""
_START_S = 1800.0  # a large model is read from a slow disk
_HELD = 64
"""Clips that a process has at a time: those being read, and those being answered."""


def caption_on_this_machine(
    works: Sequence[Work], clips: Iterable[Clip]
) -> Iterator[Sequence[dict[str, Any]]]:
    """Rows of clips, answered here or by one process for each of several `works`."""
    return caption_here(works[0], clips) if len(works) == 1 else caption_in_crew(works, clips)


def caption_here(work: Work, clips: Iterable[Clip]) -> Iterator[Sequence[dict[str, Any]]]:
    """Rows of clips, read in processes apart and answered in this one."""
    loader, captioner = work.open()
    reader = ClipReader(loader, work.reading)
    intake = Intake(clips, reader)
    try:
        yield from write_rows(captioner, intake.take)
    finally:
        intake.close()


def caption_in_crew(
    works: Sequence[Work], clips: Iterable[Clip]
) -> Iterator[Sequence[dict[str, Any]]]:
    """Rows of clips, answered by one process for each of `works`.

    A process that dies is started again, and what it had in hand is done again, one clip at a time:
    one over which a process dies alone is a row with the failure "lost".

    Raises:
        BulkError: a process cannot load its model, or they die without a clip.
    """
    crew = _Crew(works, iter(clips))
    try:
        yield from crew.run()
    finally:
        crew.stop()


@dataclass(eq=False)
class _Member:
    work: Work
    process: Any
    wire: Connection
    deadline: float
    is_ready: bool = False
    held: dict[str, Clip] = field(default_factory=dict[str, Clip])
    alone: str = ""  # the clip that is tried once more, with nothing beside it


class _Crew:
    def __init__(self, works: Sequence[Work], clips: Iterator[Clip]) -> None:
        self._clips = clips
        self._asking = works[0].asking
        self._suspects: deque[Clip] = deque()
        self._idle_deaths = 0
        self._members = [_start(work) for work in works]

    def run(self) -> Iterator[Sequence[dict[str, Any]]]:
        while True:
            for member in self._members:
                self._hand_out(member)
            held = any(member.held for member in self._members)
            if not (held or self._suspects) and any(one.is_ready for one in self._members):
                return
            yield from self._gather()

    def stop(self) -> None:
        for member in self._members:
            member.process.kill()
            member.process.join()
            member.wire.close()

    def _hand_out(self, member: _Member) -> None:
        if not member.is_ready:
            return
        with suppress(OSError):  # it has died: that is seen when its wire is read
            if self._suspects:
                if not member.held:
                    clip = self._suspects.popleft()
                    member.alone = clip.id
                    self._give(member, clip)
                return
            while len(member.held) < _HELD:
                clip = next(self._clips, None)
                if clip is None:
                    return
                self._give(member, clip)

    def _give(self, member: _Member, clip: Clip) -> None:
        member.held[clip.id] = clip
        member.wire.send(clip)

    def _gather(self) -> Iterator[Sequence[dict[str, Any]]]:
        ready = wait([member.wire for member in self._members], 1.0)
        for member in list(self._members):
            if member.wire in ready:
                try:
                    said: Any = member.wire.recv()
                except (EOFError, OSError):
                    rows = self._mourn(member)
                else:
                    rows = self._listen(member, said)
                if rows:
                    yield rows
            elif not member.is_ready and time.monotonic() > member.deadline:
                raise BulkError("process", "it has not loaded its model in time", "Look at it")

    def _listen(self, member: _Member, said: Any) -> Sequence[dict[str, Any]]:
        if isinstance(said, str):
            if said:
                raise BulkError(member.work.model.name, said, "See what it says")
            member.is_ready, self._idle_deaths = True, 0
            return []
        for row in said:
            member.held.pop(row["clip"], None)
        return said

    def _mourn(self, member: _Member) -> Sequence[dict[str, Any]]:
        """A process has died: start another, and see to what it had in hand."""
        member.process.join()
        place = self._members.index(member)
        rows: list[dict[str, Any]] = []
        how = _how(member.process.exitcode)
        held = list(member.held.values())
        if [clip.id for clip in held] == [member.alone]:
            (clip,) = held
            reason = f"the process that worked on it died ({how})"
            rows.append(failed(clip, self._asking.of(clip), Failure("lost", reason)))
        else:
            self._suspects.extend(held)
            self._idle_deaths += not held
        if self._idle_deaths > 2 * len(self._members):
            raise BulkError("process", f"it dies without a clip ({how})", "Look at its memory")
        member.wire.close()
        self._members[place] = _start(member.work)
        return rows


def _start(work: Work) -> _Member:
    kinds = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in kinds else "spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work))
    process.start()
    theirs.close()
    return _Member(work, process, ours, time.monotonic() + _START_S)


def _serve(wire: Connection, work: Work) -> None:
    """The other process: ready, then rows of the clips that come, until nobody is there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's Ctrl-C ends it
    try:
        loader, captioner = work.open()
    except (ValueError, ImportError) as error:
        wire.send(str(error) or type(error).__name__)
        return
    reader = ClipReader(loader, work.reading)
    feed = _Feed(wire, reader)
    with suppress(OSError):
        wire.send("")
        for rows in write_rows(captioner, feed.take):
            wire.send(rows)
    feed.end()


class _Feed:
    """The clips that come over the wire, read ahead."""

    def __init__(self, wire: Connection, reader: ClipReader) -> None:
        self._wire = wire
        self._reader = reader
        readers = reader.settings.readers
        self._taken: queue.Queue[Taken] = queue.Queue(readers + 2)  # a full one holds readers up
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="clip")
        threading.Thread(target=self._receive, name="wire", daemon=True).start()

    def take(self, wait_for_it: bool) -> Taken | None:
        """The next clip that was read."""
        try:
            return self._taken.get(block=wait_for_it)
        except queue.Empty:
            return None

    def end(self) -> None:
        """End this process: nobody is there any more."""
        self._reader.close()
        os._exit(0)  # threads may still read clips that nobody wants

    def _receive(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._threads.submit(self._read, self._wire.recv())
        self.end()

    def _read(self, clip: Clip) -> None:
        self._taken.put(self._reader.read(clip))


def _how(code: int | None) -> str:
    if code is None or code >= 0:
        return f"with status {code}"
    with suppress(ValueError):
        return f"by {signal.Signals(-code).name}"
    return f"by signal {-code}"
