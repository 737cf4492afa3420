"""Every record of a list, and every file that it names, read before training does it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from videollama2.media.limits import DEFAULT_LIMITS, MediaLimits
from videollama2.media.source import Source
from videollama2.processing.parts import AudioInput, ImageInput, VideoInput, kind_of
from videollama2.training.errors import RecordError, TrainingError
from videollama2.training.inspection import NOTES, Inspection, Reading, inspect_named
from videollama2.training.isolation import Lost, map_isolated
from videollama2.training.records import Medium, Record
from videollama2.training.skipped import replace_text

SHOWN = 3  # examples of each problem
Counted = Callable[[int, int], None]  # how many media are done, of how many


@dataclass(frozen=True)
class CheckOptions:
    """How closely to look.

    `num_frames` are sampled from each video; `headers` looks at headers alone. `refuse`: which
    notes of `inspection.NOTES` count as problems. `timeout_s` is for one medium.
    """

    num_frames: int = 16
    headers: bool = False
    workers: int = 2
    timeout_s: float = 120.0
    refuse: frozenset[str] = frozenset()
    limits: MediaLimits = DEFAULT_LIMITS

    def __post_init__(self) -> None:
        unknown = sorted(self.refuse - {*NOTES})
        if unknown:
            raise TrainingError(f"{unknown[0]!r} cannot be refused; these can: {', '.join(NOTES)}")


@dataclass(frozen=True)
class Entry:
    """One record of a list, or what is wrong with it; `media` are the keys of what it names."""

    list: int
    ordinal: int
    file: str
    line: int
    id: str
    kind: str
    media: tuple[str, ...] = ()
    problem: str = ""
    reason: str = ""


@dataclass
class Findings:
    """What a check found. `problems` and `notes` count records and media by what they have."""

    entries: list[Entry] = field(default_factory=list[Entry])
    media: dict[str, Inspection] = field(default_factory=dict[str, Inspection])
    taken_over: int = 0  # media whose result a report already held

    def bad(self) -> list[Entry]:
        """Records that training would not take, each with its first problem."""
        found: list[Entry] = []
        for entry in self.entries:
            wrong = [self.media[key] for key in entry.media if self.media[key].problem]
            if entry.problem:
                found.append(entry)
            elif wrong:
                found.append(replace(entry, problem=wrong[0].problem, reason=wrong[0].reason))
        return found

    def kinds(self) -> Counter[str]:
        """Records by what they show."""
        return Counter(entry.kind for entry in self.entries)

    def notes(self) -> Counter[str]:
        """Media by what is unusual and yet usable."""
        return Counter(note for found in self.media.values() for note in found.notes)

    def durations_s(self) -> list[float]:
        """Seconds of every medium that has a length, in no order."""
        return [one.duration_s for one in self.media.values() if one.duration_s is not None]


def check_lists(
    lists: Sequence[Callable[[], Iterable[Record | RecordError]]],
    options: CheckOptions,
    *,
    report: Path | None = None,
    expected: int = 0,
    progress: Counted = lambda _done, _of: None,
    on_record: Callable[[Entry, Record], None] = lambda _entry, _record: None,
) -> Findings:
    """Check lists, each a function that gives its records anew.

    A medium that several records name is read once. `report` is written as media are read, and
    what it holds of unchanged files is not read again. `expected` is for the progress' ETA;
    `on_record` sees every record once.

    Raises:
        TrainingError: the report belongs to another check, or cannot be written.
    """
    findings = Findings()
    book = _Report(report, options)
    seen: set[str] = set()
    waiting = _readings(lists, options, findings, seen, book, on_record)
    with book, closing(map_isolated(
        inspect_named, waiting, workers=options.workers, timeout_s=options.timeout_s
    )) as results:  # fmt: skip
        for (key, reading), result in results:
            if isinstance(result, Lost):
                result = Inspection(result.kind, f"{reading.name}: {result.reason}")
            findings.media[key] = _refused(result, options, reading.name)
            book.note(key, result)
            progress(len(findings.media), max(expected, len(seen)))
        progress(len(findings.media), len(findings.media))
        book.finish(findings)
    return findings


def key_of(medium: Medium) -> str:
    """What makes a medium the same as another: where it lies and how much of it is taken."""
    fields = asdict(replace(medium, source=_name(medium)))
    given = {name: value for name, value in fields.items() if value is not None}
    return json.dumps({"kind": kind_of(medium), **given}, ensure_ascii=False, sort_keys=True)


def reading_of(medium: Medium, options: CheckOptions) -> Reading:
    """What the processes that read it are told."""
    common = Reading(kind_of(medium), medium.source, headers=options.headers, limits=options.limits)
    if isinstance(medium, ImageInput):
        return common
    common = replace(common, start=medium.start, end=medium.end, allow_partial=medium.allow_partial)
    if isinstance(medium, AudioInput):
        return common
    frames = None if medium.sampling == "fps" else medium.num_frames or options.num_frames
    return replace(common, num_frames=frames, sound=medium.sound)


def _readings(
    lists: Sequence[Callable[[], Iterable[Record | RecordError]]],
    options: CheckOptions,
    findings: Findings,
    seen: set[str],
    book: _Report,
    on_record: Callable[[Entry, Record], None],
) -> Iterator[tuple[str, Reading]]:
    """Every medium once, while its record is noted."""
    for number, read in enumerate(lists):
        for ordinal, record in enumerate(read()):
            if isinstance(record, RecordError):
                findings.entries.append(_wrong(number, ordinal, record))
                continue
            media = {key_of(medium): medium for medium in record.media}
            entry = Entry(
                number, ordinal, record.file, record.line, record.id, _kind(record), (*media,)
            )
            findings.entries.append(entry)
            on_record(entry, record)
            for key, medium in media.items():
                if key in seen:
                    continue
                seen.add(key)
                known = book.known(key, medium)
                if known is not None:
                    findings.media[key] = _refused(known, options, _name(medium))
                    findings.taken_over += 1
                else:
                    yield key, reading_of(medium, options)


def _wrong(number: int, ordinal: int, error: RecordError) -> Entry:
    line = error.line
    return Entry(
        number, ordinal, error.file, line, str(line), "wrong", (), error.kind, error.reason
    )


def _kind(record: Record) -> str:
    kinds = {kind_of(medium) for medium in record.media}
    return "+".join(sorted(kinds)) or "text"


def _refused(found: Inspection, options: CheckOptions, name: str) -> Inspection:
    refused = [note for note in found.notes if note in options.refuse]
    if found.problem or not refused:
        return found
    return replace(found, problem=refused[0], reason=f"{name}: {refused[0]}")


def _name(medium: Medium) -> str:
    source: Any = medium.source
    return source.name if isinstance(source, Source) else str(source)


class _Report:
    """A report on disk: a line of settings, one for each medium, one for each bad record."""

    def __init__(self, path: Path | None, options: CheckOptions) -> None:
        self.path = path
        self._settings = {"num_frames": options.num_frames, "headers": options.headers}
        self._known: dict[str, tuple[Any, Inspection]] = {}
        self._stats: dict[str, Any] = {}
        self._file: Any = None
        self._lines = [json.dumps({"check": self._settings})]
        if path is not None and path.exists():
            self._read(path)

    def _read(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [row for row in map(_row, lines) if row is not None]
        if rows and rows[0].get("check") != self._settings:
            raise TrainingError(
                f"{path} is no report of a check with {self._settings}: choose another --out"
            )
        for row in rows[1:]:
            if "medium" in row and row.get("file") is not None:
                fields: dict[str, Any] = row["found"]
                fields["notes"] = tuple(fields["notes"])
                found = Inspection(**fields)
                self._known[row["medium"]] = (row["file"], found)
                self._lines.append(json.dumps(row, ensure_ascii=False))

    def __enter__(self) -> _Report:
        if self.path is not None:
            try:
                replace_text(self.path, "\n".join(self._lines) + "\n")
                self._file = self.path.open("a", encoding="utf-8")
            except OSError as error:
                raise TrainingError(f"{self.path}: cannot be written: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def known(self, key: str, medium: VideoInput | ImageInput | AudioInput) -> Inspection | None:
        """The result for a file that has not changed since."""
        if self.path is None:
            return None
        self._stats[key] = _stat(medium)
        stat, found = self._known.get(key, (None, None))
        return found if stat is not None and stat == self._stats[key] else None

    def note(self, key: str, found: Inspection) -> None:
        """Write down one result at once."""
        self._write({"medium": key, "file": self._stats.get(key), "found": asdict(found)})

    def finish(self, findings: Findings) -> None:
        """Write down the records that cannot be used, and the counts."""
        bad = findings.bad()
        for entry in bad:
            self._write({"record": asdict(entry)})
        counts = {"records": len(findings.entries), "bad": len(bad), "media": len(findings.media)}
        self._write({"summary": counts})

    def _write(self, row: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._file.flush()


def _row(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:  # what a killed check left unfinished
        return None


def _stat(medium: VideoInput | ImageInput | AudioInput) -> list[int] | None:
    """Size and time of a file; None for what is none."""
    try:
        found = Path(medium.source).stat()
    except (OSError, TypeError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]


def write_good(findings: Findings, values: Sequence[Callable[[], Iterable[Any]]], out: Path) -> int:
    """The records of all lists that can be used, as they were written, as JSON Lines; how many.

    `values` are the lists' JSON values, anew and in their order. `out` is there whole or not at
    all.
    """
    bad = {(entry.list, entry.ordinal) for entry in findings.bad()}
    partial = out.with_name(f".{out.name}.partial")
    count = 0
    try:
        with partial.open("w", encoding="utf-8") as file:
            for value in _good(values, bad):
                file.write(json.dumps(value, ensure_ascii=False) + "\n")
                count += 1
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _good(
    values: Sequence[Callable[[], Iterable[Any]]], bad: set[tuple[int, int]]
) -> Generator[Any]:
    for number, read in enumerate(values):
        for ordinal, value in enumerate(read()):
            if (number, ordinal) not in bad:
                yield value
