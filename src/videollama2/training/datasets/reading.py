"""Reading annotation files row by row, however large: CSV, tab-separated, JSON Lines, JSON."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

from videollama2.training.datasets.errors import (
    DataSetError,
    MissingFieldError,
    PassedOverError,
    RowError,
)
from videollama2.training.datasets.record import Record, Skipped

# So many rows without a field, and none with it, from a file's beginning: another form of file.
_ROWS_TO_TELL = 20

Key = TypeVar("Key", int, str)

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # Panda-70M keeps a whole video's captions in one


@dataclass(frozen=True)
class Row:
    """One row of an annotation file and where it stands in it."""

    where: str
    values: Mapping[str, Any]

    def text(self, field: str) -> str:
        """The field as text, stripped; numbers become text.

        Raises:
            RowError: it is missing, empty, or neither text nor a number.
        """
        value = self._value(field)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise RowError(f"{field!r} is no text")
        if not (text := str(value).strip()):
            raise RowError(f"{field!r} is empty")
        return text

    def number(self, field: str) -> float:
        """The field as a finite number.

        Raises:
            RowError: it is missing or no number.
        """
        value = self._value(field)
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise RowError(f"{field!r} is no number")
        return number

    def items(self, field: str) -> list[Any]:
        """The field as a list that is not empty.

        Raises:
            RowError: it is missing, no list, or empty.
        """
        value = self._value(field)
        if not isinstance(value, list) or not value:
            raise RowError(f"{field!r} is no list with something in it")
        return cast(list[Any], value)

    def rows(self, field: str) -> list[Row]:
        """The field as a list of objects, each a row.

        Raises:
            RowError: it is missing, empty, no list, or holds something else than objects.
        """
        found: list[Row] = []
        for item in self.items(field):
            if not isinstance(item, dict):
                raise RowError(f"{field!r} holds something else than objects")
            found.append(Row(self.where, cast(dict[str, Any], item)))
        return found

    def _value(self, field: str) -> Any:
        if field not in self.values:
            raise MissingFieldError(field)
        return self.values[field]


def each(
    file: Path, rows: Iterable[Row], convert: Callable[[Row], Iterable[Record]]
) -> Iterator[Record | Skipped]:
    """Every row's records; a row that gives none says why.

    Raises:
        DataSetError: the file's first rows all lack the same field: it is of another form.
    """
    good = False
    lacking: MissingFieldError | None = None
    for seen, row in enumerate(rows, 1):
        try:
            yield from convert(row)
            good = True
        except PassedOverError as passed:
            good = True
            yield Skipped(row.where, str(passed), fault=False)
        except MissingFieldError as missing:
            lacking = missing
            if not good and seen == _ROWS_TO_TELL:
                raise _other_form(file, missing) from None
            yield Skipped(row.where, str(missing), fault=True)
        except RowError as error:
            yield Skipped(row.where, str(error), fault=True)
    if lacking is not None and not good:
        raise _other_form(file, lacking)


def look_up(
    file: Path, rows: Iterable[Row], pair: Callable[[Row], tuple[Key, str]]
) -> dict[Key, str]:
    """A lookup file as a whole: key -> value of each row.

    Raises:
        DataSetError: a row of it is malformed.
    """
    found: dict[Key, str] = {}
    for row in rows:
        try:
            key, value = pair(row)
        except RowError as error:
            reason = f"{row.where}: {error}"
            raise DataSetError(file, reason, "Give the file as published") from None
        found[key] = value
    return found


def _other_form(file: Path, missing: MissingFieldError) -> DataSetError:
    return DataSetError(
        file,
        f"its rows have no field {missing.field!r}",
        "Give the file as published, or another one with --annotation",
        field=missing.field,
    )


@contextmanager
def opened(file: Path) -> Generator[TextIO]:
    """The file as UTF-8 text.

    Raises:
        DataSetError: it is not there, or no UTF-8.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            yield stream
    except FileNotFoundError:
        raise DataSetError(
            file, "no such file", "Put it there as published, or name it with --annotation"
        ) from None
    except IsADirectoryError:
        raise DataSetError(file, "this is a folder", "Name the file in it") from None
    except UnicodeDecodeError as error:
        raise DataSetError(file, f"no UTF-8 text ({error.reason})", "Unpack it first") from None


def csv_rows(file: Path, fields: Sequence[str]) -> Iterator[Row]:
    """The rows of a CSV file with a header.

    Raises:
        DataSetError: the file is not there, or its header lacks one of `fields`.
    """
    with opened(file) as stream:
        reader = csv.DictReader(stream)
        try:
            header = list(reader.fieldnames or [])
            for field in fields:
                if field not in header:
                    raise DataSetError(
                        file,
                        f"its header has no field {field!r} but {', '.join(header) or 'nothing'}",
                        "Give the file as published",
                        field=field,
                    )
            for values in reader:
                kept = {name: value for name, value in values.items() if value is not None}
                yield Row(f"{file.name}:{reader.line_num}", kept)
        except csv.Error as error:
            raise DataSetError(
                file, f"line {reader.line_num} is no CSV ({error})", "Download it again"
            ) from None


def column_rows(file: Path, fields: Sequence[str], delimiter: str = ",") -> Iterator[Row]:
    """The rows of a file without a header, its columns named by `fields`; more are ignored.

    Raises:
        DataSetError: the file is not there.
    """
    with opened(file) as stream:
        for number, columns in enumerate(csv.reader(stream, delimiter=delimiter), 1):
            if columns:
                yield Row(f"{file.name}:{number}", dict(zip(fields, columns, strict=False)))


def line_rows(file: Path, fields: tuple[str, str], *, at_last: bool = False) -> Iterator[Row]:
    """The lines of a file, each split in two at its first or last space; # opens a remark.

    Raises:
        DataSetError: the file is not there.
    """
    with opened(file) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip() and not line.startswith("#"):
                text = line.strip()
                parts = text.rsplit(" ", 1) if at_last else text.split(" ", 1)
                yield Row(f"{file.name}:{number}", dict(zip(fields, parts, strict=False)))


def json_line_rows(file: Path) -> Iterator[Row]:
    """The objects of a JSON Lines file; a broken line becomes a row without fields.

    Raises:
        DataSetError: the file is not there.
    """
    with opened(file) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError:
                value = None
            yield as_row(f"{file.name}:{number}", value)


def as_row(where: str, value: Any) -> Row:
    """A row of a JSON value; one that is no object lacks every field."""
    return Row(where, cast(dict[str, Any], value) if isinstance(value, dict) else {})
