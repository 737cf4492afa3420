"""Writing a data set's records: found, worded, checked, sampled, all counted."""

from __future__ import annotations

import heapq
import json
import os
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.errors import DataSetError
from videollama2.training.datasets.record import Record, Skipped, as_conversation, problem_of
from videollama2.training.datasets.wordings import check_prompts, choose, stable_hash

_SHOWN = 10
_EVERY = 10_000
_AS_JSON = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True)
class Choice:
    """What to make of a data set.

    Attributes:
        task: which of its tasks, None for its first.
        limit: at most so many records, None for all.
        seed: which of them.
        phrasings: wordings in place of the task's own.
        annotations: files in place of the published names, relative to the root.
        keep_missing: write records whose media file is absent as well.
    """

    task: str | None = None
    limit: int | None = None
    seed: int = 0
    phrasings: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    keep_missing: bool = False


@dataclass
class Tally:
    """What became of every row.

    `malformed` and `passed_over` count rows by reason, each with the first one's place.
    """

    written: int = 0
    usable: int = 0
    absent: int = 0
    first_absent: list[str] = field(default_factory=list[str])
    malformed: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    passed_over: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    absent_list: Path | None = None

    @property
    def seen(self) -> int:
        """Records and rows looked at so far."""
        rows = (*self.malformed.values(), *self.passed_over.values())
        return self.usable + sum(count for count, _ in rows)

    def skip(self, skipped: Skipped) -> None:
        """Count a row that gave no record."""
        counts = self.malformed if skipped.fault else self.passed_over
        count, where = counts.get(skipped.reason, (0, skipped.where))
        counts[skipped.reason] = (count + 1, where)


def prepare(
    data_set: DataSet,
    root: Path,
    out: Path,
    choice: Choice,
    progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Write a data set's records to `out` as JSON Lines, in the annotation files' order.

    A subset is the `limit` records whose ids hash lowest under the seed: the same ones in every
    run, whatever else the files hold, and a smaller subset is part of a larger one.
    `out` appears whole or not at all. Absent media are listed in "<out>.absent.txt".

    Raises:
        ValueError: the choice asks for what the data set does not have.
        DataSetError: a file or field is missing, `out` cannot be written, or nothing is usable.
    """
    task = data_set.task(choice.task)
    prompts = choice.phrasings or task.prompts
    check_prompts(prompts, task.slots)
    if choice.limit is not None and choice.limit < 1:
        raise ValueError(f"a limit of {choice.limit} leaves no record")
    if not root.is_dir():
        raise DataSetError(root, "no such folder", "Give the data set's folder with --root")
    records = data_set.records(root, choice.task, choice.annotations)
    tally = Tally()
    sample = None if choice.limit is None else _Lowest(choice.limit, choice.seed)
    absent_list = out.with_name(f"{out.name}.absent.txt")
    with _whole(out) as file, _whole(absent_list) as absent, _spool(out, sample) as spool:
        for line_id, line in _lines(records, root, prompts, choice, tally, absent, progress):
            if sample is None:
                file.write(line)
                tally.written += 1
            elif (value := sample.taken(line_id)) is not None:
                spool.write(f"{value}\n{line}")
        if sample is not None:
            tally.written = _write_sample(spool, file, sample)
        if not tally.written:
            raise DataSetError(root, _why_nothing(tally, task), "Nothing was written")
    if tally.absent:
        tally.absent_list = absent_list
    else:
        absent_list.unlink()
    return tally


def _lines(
    records: Iterator[Record | Skipped],
    root: Path,
    prompts: Sequence[str],
    choice: Choice,
    tally: Tally,
    absent: TextIO,
    progress: Callable[[Tally], None],
) -> Iterator[tuple[str, str]]:
    """(id, JSON line) of every record that can be used; the rest is counted."""
    folder = os.fspath(root)
    for number, record in enumerate(records, 1):
        if number % _EVERY == 0:
            progress(tally)
        if isinstance(record, Skipped):
            tally.skip(record)
            continue
        media = _found(folder, record)
        prompt = choose(prompts, record.id)
        questions = tuple(prompt.format(**turn.slots) for turn in record.turns)
        made = as_conversation(record, media or record.media, questions)
        if (problem := problem_of(made)) is not None:
            tally.skip(Skipped(record.id, problem, fault=True))
            continue
        tally.usable += 1
        if media is None and record.kind != "text":
            tally.absent += 1
            absent.write(f"{record.media}\n")
            if len(tally.first_absent) < _SHOWN:
                tally.first_absent.append(record.media)
            if not choice.keep_missing:
                continue
        yield record.id, f"{_AS_JSON(made)}\n"


def _found(root: str, record: Record) -> str | None:
    """Where the record's medium lies, relative to the root, if anywhere."""
    for path in (record.media, *record.elsewhere):
        # os.path: there are millions of these, and pathlib takes several times as long
        if record.kind != "text" and os.path.isfile(f"{root}/{path}"):
            return path
    return None


class _Lowest:
    """The ids that hash lowest under a seed, so many of them."""

    def __init__(self, size: int, seed: int):
        self._size = size
        self._seed = seed
        self._highest_first: list[int] = []  # negated, as heapq puts the smallest first

    def taken(self, record_id: str) -> int | None:
        """The id's hash if it is, for now, among the lowest."""
        value = -stable_hash(f"{self._seed}\0{record_id}")
        if len(self._highest_first) < self._size:
            heapq.heappush(self._highest_first, value)
        elif value <= self._highest_first[0]:
            return None
        else:
            heapq.heapreplace(self._highest_first, value)
        return value

    def edge(self) -> tuple[int, int]:
        """The highest of the hashes kept, and how many are that high (ids may come twice)."""
        if not self._highest_first:
            return 0, 0
        return self._highest_first[0], self._highest_first.count(self._highest_first[0])


def _write_sample(spool: TextIO, file: TextIO, sample: _Lowest) -> int:
    spool.seek(0)
    edge, room = sample.edge()
    written = 0
    for line in spool:
        value = int(line)
        record = spool.readline()
        room -= value == edge
        if value > edge or (value == edge and room >= 0):
            file.write(record)
            written += 1
    return written


@contextmanager
def _spool(out: Path, sample: _Lowest | None) -> Generator[TextIO]:
    """A file for the candidates of a subset, beside the output where there is room for it."""
    with tempfile.TemporaryFile(
        "w+", encoding="utf-8", newline="\n", dir=None if sample is None else out.parent
    ) as spool:
        yield spool


@contextmanager
def _whole(path: Path) -> Generator[TextIO]:
    """A file that appears under its name only when all is written."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
        raise DataSetError(path, reason, "Choose another place") from None
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _why_nothing(tally: Tally, task: Task) -> str:
    if tally.absent:
        return f"all {tally.absent} media files are absent, {tally.first_absent[0]} for one"
    if tally.malformed:
        reason, (count, where) = next(iter(tally.malformed.items()))
        return f"no row could be used: {reason} ({count} rows, {where} first)"
    return f"{', '.join(task.files)} hold no record"
