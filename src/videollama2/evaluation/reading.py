"""Annotation files as items whose fields are checked, and media found by name."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from videollama2.evaluation.errors import AnnotationError, EvaluationError

VIDEO_FORMATS = (".mp4", ".avi", ".mov", ".mkv")
"""What the released scripts look for, in this order."""
MORE_VIDEO_FORMATS = (".mp4", ".webm", ".avi", ".mov", ".mkv")
"""The released list of the open-ended benchmarks."""
_UNREADABLE = (ValueError, RecursionError)  # no JSON; digits by the thousand; nested too deeply


@dataclass(frozen=True)
class Item:
    """One item of an annotation file, and where it stands in it (an index or a key)."""

    file: Path
    where: str
    values: Mapping[str, Any]

    def text(self, name: str) -> str:
        """The field as text, as it stands; numbers become text.

        Raises:
            AnnotationError: it is missing, or neither text nor a number.
        """
        value = self._value(name)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise self.wrong(name, "is no text")
        return self._written(name, value)

    def number(self, name: str) -> float:
        """The field as a finite number.

        Raises:
            AnnotationError: it is missing or no number.
        """
        value = self._value(name)
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self.wrong(name, "is no number")
        return number

    def texts(self, name: str) -> tuple[str, ...]:
        """The field as a list of texts that is not empty.

        Raises:
            AnnotationError: it is missing, no list, empty, or holds something else.
        """
        value = self._value(name)
        items = cast(list[object], value) if isinstance(value, list) else []
        if not items or not all(isinstance(item, (str, int, float)) for item in items):
            raise self.wrong(name, "is no list of texts")
        return tuple(self._written(name, item) for item in items)

    def item(self, name: str) -> Item:
        """The field as an object.

        Raises:
            AnnotationError: it is missing or no object.
        """
        return _item(self.file, f"{self.where}.{name}", self._value(name), self, name)

    def items(self, name: str) -> list[Item]:
        """The field as a list of objects.

        Raises:
            AnnotationError: it is missing, no list, or holds something else.
        """
        value = self._value(name)
        if not isinstance(value, list):
            raise self.wrong(name, "is no list")
        inner = enumerate(cast(list[object], value))
        return [_item(self.file, f"{self.where}.{name}.{n}", one, self, name) for n, one in inner]

    def filled(self, name: str) -> str:
        """The field as text that says something.

        Raises:
            AnnotationError: it is missing, no text, or blank.
        """
        text = self.text(name)
        if not text.strip():
            raise self.wrong(name, "is empty")
        return text

    def once(self, name: str, key: str, seen: set[str]) -> str:
        """A question's id, which comes of this field; `seen` are those before it.

        Raises:
            AnnotationError: another question had it.
        """
        if key in seen:
            raise self.wrong(name, f"gives the id of a question before it: {key!r}")
        seen.add(key)
        return key

    def wrong(self, name: str, reason: str) -> AnnotationError:
        """The error that names this file, item and field."""
        return AnnotationError(self.file, reason, where=self.where, field=name)

    def _written(self, name: str, value: object) -> str:
        try:
            text = str(value)
            text.encode()
        except ValueError:  # half of a surrogate pair, or a number of thousands of digits
            raise self.wrong(name, "is no text that can be written") from None
        return text

    def _value(self, name: str) -> Any:
        if name not in self.values:
            raise self.wrong(name, "is missing")
        return self.values[name]


def _item(file: Path, where: str, value: object, parent: Item, name: str) -> Item:
    if not isinstance(value, dict):
        raise parent.wrong(name, "is no object")
    return Item(file, where, cast(dict[str, Any], value))


def read_json(file: Path) -> Any:
    """A JSON file.

    Raises:
        AnnotationError: it is not there, no UTF-8 or no JSON (with line and column).
    """
    text = _text(file)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise AnnotationError(
            file, f"no JSON at line {error.lineno}, column {error.colno} ({error.msg})"
        ) from None
    except _UNREADABLE as error:
        raise AnnotationError(file, f"no JSON that can be read ({error})") from None


def json_items(file: Path) -> list[Item]:
    """The objects of a JSON list.

    Raises:
        AnnotationError: as `read_json`, or it is no list of objects.
    """
    value = read_json(file)
    if not isinstance(value, list):
        raise AnnotationError(file, "it holds no list")
    return list(_objects(file, enumerate(cast(list[object], value))))


def json_members(file: Path) -> list[Item]:
    """The objects of a JSON object, each `where` its key.

    Raises:
        AnnotationError: as `read_json`, or it is no object of objects.
    """
    value = read_json(file)
    if not isinstance(value, dict):
        raise AnnotationError(file, "it holds no object")
    return list(_objects(file, cast(dict[str, object], value).items()))


def json_object(file: Path) -> Item:
    """A JSON object; `where` is empty.

    Raises:
        AnnotationError: as `read_json`, or it is no object.
    """
    value = read_json(file)
    if not isinstance(value, dict):
        raise AnnotationError(file, "it holds no object")
    return Item(file, "", cast(dict[str, Any], value))


def json_line_items(file: Path) -> list[Item]:
    """The objects of a JSON Lines file; `where` is the line, from 1.

    Raises:
        AnnotationError: it is not there, or a line is no object.
    """
    found: list[tuple[int, object]] = []
    for number, line in enumerate(_text(file).split("\n"), 1):
        if line.strip():
            try:
                found.append((number, json.loads(line)))
            except _UNREADABLE as error:
                raise AnnotationError(file, f"no JSON ({error})", where=str(number)) from None
    return list(_objects(file, found))


def parquet_items(file: Path, columns: Iterable[str]) -> list[Item]:
    """The rows of a Parquet file.

    Raises:
        AnnotationError: it is not there, no Parquet, or lacks a column.
        EvaluationError: pyarrow is not installed.
    """
    _must_be_there(file)
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise EvaluationError(
            file, "reading Parquet needs pyarrow", "Run pip install 'videollama2[eval]'"
        ) from None
    library: Any = parquet
    try:
        table: Any = library.read_table(file)
    except (ValueError, OSError) as error:  # what pyarrow raises derives from these
        raise AnnotationError(file, f"no Parquet ({str(error).splitlines()[0]})") from None
    for column in columns:
        if column not in table.column_names:
            raise AnnotationError(file, "is missing", field=column)
    return list(_objects(file, enumerate(cast(list[object], table.to_pylist()))))


def csv_items(file: Path, columns: Sequence[str], *, header: bool = True) -> list[Item]:
    """The rows of a CSV file; `where` is the line, from 1. Without `header`, the columns in order.

    Raises:
        AnnotationError: it is not there, lacks a column, or a row has another number of fields.
    """
    rows = csv.reader(io.StringIO(_text(file), newline=""))
    names = next(rows, list[str]()) if header else list(columns)
    for column in columns:
        if column not in names:
            raise AnnotationError(file, "is missing", where="1", field=column)
    found: list[Item] = []
    try:
        for row in rows:
            where = str(rows.line_num)
            if row and len(row) != len(names):
                raise AnnotationError(file, f"{len(row)} fields of {len(names)}", where=where)
            if row:
                found.append(Item(file, where, dict(zip(names, row, strict=True))))
    except csv.Error as error:
        raise AnnotationError(file, f"no CSV ({error})", where=str(rows.line_num)) from None
    return found


def find_media(folder: Path, stem: str, formats: Iterable[str] = VIDEO_FORMATS) -> Path | None:
    """The first of `folder/stem` + format that is there."""
    paths = (folder / f"{stem}{ending}" for ending in formats)
    return next((path for path in paths if existing(path) and path.is_file()), None)


def existing(path: Path) -> Path | None:
    """The path where something lies there."""
    try:
        return path if path.exists() else None
    except OSError:  # a name that no file can have, a folder that may not be looked into
        return None


def _objects(file: Path, items: Iterable[tuple[object, object]]) -> Iterator[Item]:
    for where, value in items:
        if not isinstance(value, dict):
            raise AnnotationError(file, "is no object", where=str(where))
        yield Item(file, str(where), cast(dict[str, Any], value))


def _text(file: Path) -> str:
    _must_be_there(file)
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(file, f"no UTF-8 text ({error.reason})") from None


def _must_be_there(file: Path) -> None:
    if not file.is_file():
        raise AnnotationError(
            file, "no such file", "--prepare says which files must lie where and from where"
        )
