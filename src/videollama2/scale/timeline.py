"""A clip of any length, told window by window; memory does not grow with its length."""

from __future__ import annotations

import base64
import queue
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from videollama2.media.errors import EmptyMediaError, MediaError
from videollama2.processing.loader import MediaLoader
from videollama2.processing.parts import LoadedMedia
from videollama2.reading.pool import ReaderLostError, ReaderPool
from videollama2.reading.task import WindowMedia, WindowTask
from videollama2.scale.captioner import Captioner, write_rows
from videollama2.scale.clips import Clip, Failure, shown
from videollama2.scale.intake import Taken
from videollama2.scale.output import Output
from videollama2.scale.page import write_page
from videollama2.scale.pieces import pieces_of, write_json, write_srt, write_vtt
from videollama2.scale.work import Work

_AHEAD = 3
_MOST_LOST = 3
_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s?)?")


@dataclass(frozen=True)
class Told:
    """What is there in the end: windows, pieces after merging, windows without an answer."""

    windows: int
    pieces: int
    failed: int


def seconds_of(text: str) -> float:
    """`10s`, `2m`, `1h30m`, `0.5` or `90` as seconds.

    Raises:
        ValueError: it has another form, or is nothing.
    """
    match = _TIME.fullmatch(text.strip())
    hours, minutes, seconds = (float(one or 0) for one in match.groups()) if match else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if not text.strip() or total <= 0:
        raise ValueError(f"a length of time is {text!r}: it must be like 10s, 2m or 1h30m")
    return total


def tell(
    source: str,
    folder: Path,
    every_s: float,
    work: Work,
    *,
    progress: Callable[[float, float | None], None] = lambda done, total: None,
) -> Told:
    """Caption every window of a clip that has no row yet, then write the timeline.

    `progress` gets the seconds of the clip that are behind us, and its length where it is known.

    Raises:
        MediaError: the clip cannot be read at all.
        BulkError: the folder is another run's, or cannot be written.
    """
    settings = {"source": shown(source), "every_s": every_s, "model": work.model.name,
                "prompts": list(work.asking.prompts), "num_frames": work.reading.num_frames,
                "max_new_tokens": work.asking.max_new_tokens, "seed": work.asking.seed,
                "temperature": work.asking.temperature, "top_p": work.asking.top_p}  # fmt: skip
    with Output(folder, "srt", settings) as output:
        first = len(output.done)
        assistant = work.model.load()
        frames = work.reading.num_frames or int(assistant.model.config.num_frames)
        loader: MediaLoader = replace(assistant.processor.loader, num_frames=frames)
        windows = _Windows(WindowTask(source, every_s, frames, first), loader, work)
        try:
            captioned = write_rows(Captioner(assistant, work.asking), windows.take)
            for row in _in_order(captioned, first, windows):
                output.add([row])
                progress(row["end"], windows.duration_s)
        finally:
            windows.close()
        output.flush()
        if not output.done:
            raise EmptyMediaError(shown(source), "it holds nothing that could be told")
        counts = _write(folder, output.rows_file, shown(source), every_s)
        return Told(len(output.done), counts, output.failed)


def _write(folder: Path, rows: Path, name: str, every_s: float) -> int:
    for file, write in (("timeline.srt", write_srt), ("timeline.vtt", write_vtt)):
        write(folder / file, pieces_of(rows))
    count = write_json(folder / "timeline.json", pieces_of(rows), name, every_s)
    write_page(folder / "timeline.html", lambda: pieces_of(rows), name)
    return count


def _in_order(captioned: Iterator[Any], first: int, windows: _Windows) -> Iterator[dict[str, Any]]:
    """Rows by their windows' order, with what the page shows of each."""
    early: dict[int, dict[str, Any]] = {}
    following = first
    for rows in captioned:
        early |= {int(row["clip"]): row for row in rows}
        while following in early:
            row, window = early.pop(following), windows.seen.pop(following)
            thumbnail = base64.b64encode(window.thumbnail).decode()
            yield {**row, "thumbnail": thumbnail, "levels": list(window.levels)}
            following += 1


class _Windows:
    """Windows read ahead, one after another, in a process apart."""

    def __init__(self, task: WindowTask, loader: MediaLoader, work: Work) -> None:
        self.seen: dict[int, WindowMedia] = {}
        self.duration_s: float | None = None
        reading = work.reading
        self._pool = ReaderPool(
            loader, readers=1, timeout_s=reading.timeout_s, memory_bytes=reading.memory_bytes
        )
        self._task = task
        self._questions = work.asking.prompts
        self._ready: queue.Queue[Taken | MediaError | None] = queue.Queue(_AHEAD)
        self._stopped = False
        self._ended = False
        self._thread = threading.Thread(target=self._read, name="windows", daemon=True)
        self._thread.start()

    def take(self, wait: bool) -> Taken | None:
        """The next window.

        Raises:
            MediaError: the clip cannot be read.
        """
        if self._ended:
            return None
        try:
            taken = self._ready.get(block=wait)
        except queue.Empty:
            return None
        if isinstance(taken, MediaError):
            raise taken
        self._ended = taken is None
        return taken

    def close(self) -> None:
        """Read no further."""
        self._stopped = True
        self._pool.close()
        while self._thread.is_alive():
            try:
                self._ready.get(timeout=0.1)
            except queue.Empty:
                continue

    def _read(self) -> None:
        lost, index = 0, self._task.index
        while not self._stopped:
            task = replace(self._task, index=index)
            start = index * task.every_s
            window = WindowMedia(start, start + task.every_s, None, None, b"", ())
            try:
                window = self._pool.read_window(task)
                lost, reason = 0, "nothing of it can be read"
            except ReaderLostError as error:
                lost, reason = lost + 1, error.reason
                if lost > _MOST_LOST:
                    self._ready.put(error)
                    return
            except MediaError as error:
                self._ready.put(error)
                return
            if window.end_s is None:
                break
            self.duration_s = self.duration_s or window.duration_s
            clip = Clip(str(index), task.source, window.start_s, window.end_s)
            media: LoadedMedia | Failure = window.media or Failure("unreadable", reason)
            self.seen[index] = replace(window, media=None)
            self._ready.put(Taken(clip, media))
            index += 1
        self._ready.put(None)
