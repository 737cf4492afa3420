"""What a cluster's actors do: some read clips, others answer them. Tables of Arrow in and out."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict
from importlib import import_module
from typing import Any

import pyarrow

from videollama2.assistant import resolve
from videollama2.checkpoints.processor import load_processor
from videollama2.processing.parts import LoadedMedia
from videollama2.reading.task import pack, unpack
from videollama2.scale.captioner import AnyCaptioner, write_rows
from videollama2.scale.clips import Clip, Failure
from videollama2.scale.intake import ClipReader, Taken
from videollama2.scale.work import Work

log = logging.getLogger("videollama2.scale")
arrow: Any = pyarrow
CLIPS = arrow.schema([("clip", arrow.string())])
TAKEN = arrow.schema(
    [("clip", arrow.string()), ("failure", arrow.string()), ("media", arrow.large_binary())]
)
ROWS = arrow.schema([("row", arrow.string()), ("wrong", arrow.string())])
"""Tables between actors: clips to read; clips read; rows, or what is `wrong` with the model."""


class Roll:
    """The actors of one pass, by their handles: whoever is on it can be told to go."""

    def __init__(self) -> None:
        self._signed: list[Any] = []

    def sign(self, actor: Any) -> None:
        """Put an actor on the roll, or again after it was started again."""
        self._signed.append(actor)

    def signed(self) -> list[Any]:
        """All that are on it."""
        return self._signed


def sign(roll: Any) -> None:
    """Put the actor that this process is on the roll, an actor too."""
    ray: Any = import_module("ray")
    ray.get(roll.sign.remote(ray.get_runtime_context().current_actor))


class Reading:
    """Reads clips in processes of its own, several calls at a time; no weights are read."""

    def __init__(self, work: Work, roll: Any) -> None:
        sign(roll)
        self._reader: ClipReader | None = None
        try:
            loader = load_processor(resolve(work.model.name)).loader
        except ValueError:  # whoever loads the model says what is wrong with it
            return
        self._reader = ClipReader(loader, work.reading)

    def __call__(self, clips: Any) -> Any:
        """CLIPS -> TAKEN."""
        columns: dict[str, list[Any]] = {"clip": [], "failure": [], "media": []}
        for text in clips.column("clip").to_pylist():
            columns["clip"].append(text)
            media = self._read(Clip.from_json(text))
            failure = json.dumps(asdict(media)) if isinstance(media, Failure) else None
            columns["failure"].append(failure)
            columns["media"].append(pack(media) if isinstance(media, LoadedMedia) else None)
        return arrow.table(columns, schema=TAKEN)

    def _read(self, clip: Clip) -> LoadedMedia | Failure:
        if self._reader is None:
            return Failure("refused", "there is no model to read it for")
        return self._reader.read(clip).media


class Answering:
    """A model; calls that come at the same time are written together."""

    def __init__(self, work: Work, roll: Any) -> None:
        sign(roll)
        self._desk: Desk | None = None
        self._wrong: str | None = None
        try:
            self._desk = Desk(work.open()[1])
        except (ValueError, ImportError) as error:
            self._wrong = str(error) or type(error).__name__

    def __call__(self, taken: Any) -> Any:
        """TAKEN -> ROWS."""
        if self._desk is None:
            return arrow.table({"row": [None], "wrong": [self._wrong]}, schema=ROWS)
        rows = [json.dumps(row) for row in self._desk.answer([_taken(one) for one in _all(taken)])]
        return arrow.table({"row": rows, "wrong": [None] * len(rows)}, schema=ROWS)


class Desk:
    """A captioner in a thread of its own, which any other thread may give clips.

    A failure that is no clip's ends the process, so that another takes its place.
    """

    def __init__(self, captioner: AnyCaptioner) -> None:
        self._captioner = captioner
        self._taken: queue.SimpleQueue[Taken] = queue.SimpleQueue()
        self._coming: dict[str, Future[dict[str, Any]]] = {}
        threading.Thread(target=self._write, name="desk", daemon=True).start()

    def answer(self, taken: Sequence[Taken]) -> list[dict[str, Any]]:
        """A row of each clip, in their order, once all are written."""
        coming: list[Future[dict[str, Any]]] = []
        for one in taken:
            row: Future[dict[str, Any]] = Future()
            known = self._coming.setdefault(one.clip.id, row)
            coming.append(known)
            if known is row:
                self._taken.put(one)
        return [row.result() for row in coming]

    def _write(self) -> None:
        try:
            for rows in write_rows(self._captioner, self._take):
                for row in rows:
                    self._coming.pop(row["clip"]).set_result(row)
        except BaseException:
            log.exception("the model cannot go on")
        os._exit(1)

    def _take(self, wait: bool) -> Taken | None:
        try:
            return self._taken.get(block=wait)
        except queue.Empty:
            return None


def _all(table: Any) -> list[dict[str, Any]]:
    return table.to_pylist()


def _taken(values: dict[str, Any]) -> Taken:
    clip = Clip.from_json(values["clip"])
    if values["failure"] is not None:
        return Taken(clip, Failure(**json.loads(values["failure"])))
    media = unpack(values["media"])
    if not isinstance(media, LoadedMedia):
        return Taken(clip, Failure("unreadable", "no frames and no sound came of it"))
    return Taken(clip, media)
