"""The rows of a run on disk: one a clip, whatever dies, and then in the form that was asked for."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self, get_args

from videollama2.scale.errors import BulkError
from videollama2.scale.parquet import library
from videollama2.scale.rows import FIELDS
from videollama2.scale.subtitles import write_subtitles
from videollama2.storage.lines import DamagedLineError, GrowingFile, iterate_lines, write_whole

Form = Literal["jsonl", "parquet", "srt"]
_EVERY_S = 0.5
_ROWS_AT_ONCE = 256
_ROW_GROUP = 4096
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def form_of(out: Path, asked: str | None) -> Form:
    """The form that was asked for, else by the name's ending, else JSON Lines.

    Raises:
        ValueError: there is no such form.
    """
    name = asked or out.suffix.lstrip(".").lower()
    if name in ("jsonl", "json", "ndjson", ""):
        return "jsonl"
    if name not in get_args(Form):
        raise ValueError(f"no output is of the form {name!r}: choose jsonl, parquet or srt")
    return "parquet" if name == "parquet" else "srt"


class Output:
    """Where rows go; only one run at a time has it open.

    JSON Lines grow in `out` itself. Beside it (in the folder of SRT files) `.NAME.run.json` says
    what was asked, and for the other forms the rows grow in `.NAME.rows.jsonl`; `finish` makes
    `out` of them. A row is on disk half a second after it was added, and whole or not at all.
    """

    def __init__(self, out: Path, form: Form, settings: Mapping[str, Any]) -> None:
        self.out = out
        self.form: Form = form
        self.failed = 0
        self.done: set[str] = set()
        folder, name = (out, "rows") if form == "srt" else (out.parent, out.name)
        self.rows_file = out if form == "jsonl" else folder / f".{name}.rows.jsonl"
        if form != "srt" and out.is_dir():
            raise BulkError(out, "it is a folder", "Name a file, or say --format srt")
        self._waiting: list[Mapping[str, Any]] = []
        self._written = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder / f".{name}.lock")
        except OSError as error:
            raise _cannot_write(out, error) from error
        try:
            _claim(folder / f".{name}.run.json", self.rows_file, settings)
            self._file = GrowingFile(self.rows_file)
            self._read()
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, OSError):
                raise _cannot_write(out, error) from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Take in rows, each clip's first; gives how many were new.

        Raises:
            BulkError: they cannot be written (the disk is full); what was written stays.
        """
        new = 0
        for row in rows:
            if row["clip"] not in self.done:
                self.done.add(row["clip"])
                self.failed += row["failure"] is not None
                self._waiting.append(row)
                new += 1
        is_due = time.monotonic() - self._written >= _EVERY_S
        if is_due or len(self._waiting) >= _ROWS_AT_ONCE:
            self.flush()
        return new

    def flush(self) -> None:
        """Write what was added."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            try:
                self._file.append(waiting)
            except OSError as error:
                raise _cannot_write(self.out, error) from error
        self._written = time.monotonic()

    def finish(self) -> None:
        """Write `out` in its form.

        Raises:
            BulkError: it cannot be written.
        """
        self.flush()
        try:
            if self.form == "parquet":
                _write_parquet(self.out, iterate_lines(self.rows_file))
            elif self.form == "srt":
                write_subtitles(self.out, iterate_lines(self.rows_file))
        except OSError as error:
            raise _cannot_write(self.out, error) from error

    def close(self) -> None:
        """Write what was added, and let others open it."""
        try:
            self.flush()
        finally:
            os.close(self._lock)

    def _read(self) -> None:
        try:
            for row in iterate_lines(self.rows_file):
                if "clip" not in row or "failure" not in row:
                    raise BulkError(
                        self.rows_file, "it holds other lines than this command's", "Name another"
                    )
                self.done.add(row["clip"])
                self.failed += row["failure"] is not None
        except DamagedLineError as error:
            raise BulkError(
                error.path, f"line {error.number} is damaged", "Delete that line: it is made again"
            ) from None


def _claim(file: Path, rows_file: Path, settings: Mapping[str, Any]) -> None:
    """Make the output this run's, or find that it is."""
    if not file.is_file():
        if rows_file.exists() and rows_file.stat().st_size:
            raise BulkError(rows_file, "it is there, and not this command's", "Name another file")
        write_whole(file, json.dumps(settings, indent=1, ensure_ascii=False) + "\n")
        return
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise BulkError(file, "it is no JSON", "Name another output") from None
    other = [name for name in settings if found.get(name) != settings[name]]
    if other:
        what = ", ".join(f"{name} {found.get(name)!r}" for name in other)
        raise BulkError(
            file, f"the rows there are of another run ({what})", "Say the same, or name another"
        )


def _locked(file: Path) -> int:
    """The lock file, open, until it is closed or this process ends."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        import fcntl
    except ImportError:  # not on every system: then nobody checks
        return handle
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise BulkError(file, "another run is writing there", "Wait for it, or stop it") from None
    except OSError:  # a file system without locks
        return handle
    return handle


def _cannot_write(out: Path, error: OSError) -> BulkError:
    if error.errno in _FULL:
        return BulkError(
            out, f"the disk is full ({error.strerror})", "Make room and say the same: it goes on"
        )
    return BulkError(out, f"it cannot be written ({error.strerror or error})", "Name another")


def _write_parquet(out: Path, rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow

    arrow: Any = pyarrow
    kinds = {
        "string": arrow.string(),
        "double": arrow.float64(),
        "int64": arrow.int64(),
        "list<string>": arrow.list_(arrow.string()),
    }
    schema = arrow.schema([(name, kinds[kind]) for name, kind in FIELDS.items()])
    beside = out.with_name(f".{out.name}.part")
    try:
        with library().ParquetWriter(beside, schema, compression="zstd") as writer:
            for group in _groups(rows):
                writer.write_table(arrow.Table.from_pylist(group, schema=schema))
        os.replace(beside, out)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        group.append({name: _printable(row.get(name)) for name in FIELDS})
        if len(group) == _ROW_GROUP:
            yield group
            group = []
    yield group


def _printable(value: Any) -> Any:
    """Text without lone halves of surrogate pairs, which Parquet does not hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_printable(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value
