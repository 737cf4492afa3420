"""Large JSON files one item at a time: the whole is never in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from videollama2.training.datasets.errors import DataSetError
from videollama2.training.datasets.reading import Row, as_row, opened

_CHUNK = 1 << 20
_LARGEST_ITEM = 1 << 28  # characters: no annotation of one clip is that long
_DECODER = json.JSONDecoder()


def json_rows(file: Path, field: str | None = None) -> Iterator[Row]:
    """The objects of a JSON list, or of the list that is `field` of a JSON object.

    Raises:
        DataSetError: the file is not there, no JSON, or of another form.
    """
    with opened(file) as stream:
        reader = _Reader(file, stream)
        inside = field is not None and reader.peek() == "{"
        if inside and not any(name == field for name in reader.names()):
            raise DataSetError(
                file, f"it has no field {field!r}", "Give the file as published", field=field
            )
        if reader.peek() != "[":
            raise reader.wrong("no list")
        for number, value in enumerate(reader.list_items(), 1):
            yield as_row(f"{file.name}[{number}]", value)


def json_members(file: Path) -> Iterator[tuple[str, Row]]:
    """The members of a JSON object whose values are objects: (name, row).

    Raises:
        DataSetError: the file is not there, no JSON, or no object.
    """
    with opened(file) as stream:
        reader = _Reader(file, stream)
        for name in reader.names():
            yield name, as_row(f"{file.name}[{name}]", reader.value())


class _Reader:
    """A window over a JSON text that moves on as values are taken."""

    def __init__(self, file: Path, stream: TextIO):
        self._file = file
        self._stream = stream
        self._window = ""
        self._at = 0
        self._ended = False
        self._dropped = 0  # characters before the window

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._window):
                if not self._window[self._at].isspace():
                    return self._window[self._at]
                self._at += 1
            if not self._more(_CHUNK):
                return ""

    def value(self) -> Any:
        """The next JSON value, whole."""
        self.peek()
        wanted = _CHUNK
        while True:
            try:
                value, end = _DECODER.raw_decode(self._window, self._at)
            except json.JSONDecodeError:
                end = len(self._window)  # perhaps cut short
                value = None
                if self._ended:
                    raise self.wrong("broken or cut off") from None
            else:
                # A number at the window's edge may go on behind it.
                if end < len(self._window) or self._ended:
                    self._at = end
                    return value
            if len(self._window) - self._at > _LARGEST_ITEM:
                raise self.wrong("broken, or one item is larger than any annotation")
            self._more(wanted)
            wanted *= 2

    def list_items(self) -> Iterator[Any]:
        """The items of the list that comes next."""
        self._take("[")
        if self.peek() == "]":
            return
        while True:
            yield self.value()
            if self.peek() == "]":
                return
            self._take(",")

    def names(self) -> Iterator[str]:
        """The names of the object that comes next; whoever takes no value passes over it."""
        self._take("{")
        if self.peek() == "}":
            return
        while True:
            name = self.value()
            if not isinstance(name, str):
                raise self.wrong("a name is no text")
            self._take(":")
            self.peek()
            before = self._passed
            yield name
            if self._passed == before:
                self.value()
            if self.peek() == "}":
                return
            self._take(",")

    def wrong(self, reason: str) -> DataSetError:
        """The error to raise about what comes next."""
        return DataSetError(
            self._file,
            f"no JSON of the published form: {reason}, near character {self._passed}",
            "Download it again, or name the right file with --annotation",
        )

    @property
    def _passed(self) -> int:
        return self._dropped + self._at

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise self.wrong(f"{character!r} expected")
        self._at += 1

    def _more(self, wanted: int) -> bool:
        chunk = "" if self._ended else self._stream.read(wanted)
        self._ended = not chunk
        self._window = self._window[self._at :] + chunk
        self._dropped += self._at
        self._at = 0
        return bool(chunk)
