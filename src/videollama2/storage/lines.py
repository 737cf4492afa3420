"""JSON Lines that only grow, and files that are there whole or as they were."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

_BLOCK = 1 << 16


class DamagedLineError(ValueError):
    """Line `number` (from 1) of `path` is no JSON object, though it is not the last."""

    def __init__(self, path: Path, number: int) -> None:
        super().__init__(f"{path}: line {number} is damaged. Delete that line")
        self.path = path
        self.number = number


def json_line(value: Mapping[str, Any]) -> str:
    """One line of JSON, with its end; no character of it ends a line elsewhere."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    for mark in ("\u2028", "\u2029", "\x85"):
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    # A lone half of a surrogate pair, as a broken decoder gives, is no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


class GrowingFile:
    """A JSON Lines file to append to, safe against being killed between any two bytes.

    A last line that was not finished is dropped when the file is opened again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _drop_unfinished(path)

    def append(self, values: Sequence[Mapping[str, Any]]) -> None:
        """Write these lines in one go, on disk when this returns.

        Raises:
            OSError: they could not be written (the disk is full): none of them is there.
        """
        data = "".join(json_line(value) for value in values).encode()
        with self.path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                written = 0
                while written < len(data):
                    written += file.write(data[written:]) or 0
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(before)
                raise


def iterate_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a growing file, one by one; an unfinished last one is left out.

    Raises:
        DamagedLineError: another line is no JSON object.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                value: object = json.loads(line)
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise DamagedLineError(path, number)
            yield cast(dict[str, Any], value)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8", newline="\n")
    os.replace(beside, path)


def _drop_unfinished(path: Path) -> None:
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(end - _BLOCK, 0)
            file.seek(start)
            last = file.read(end - start).rfind(b"\n")
            if last >= 0:
                end = start + last + 1
                break
            end = start
        file.truncate(end)
