"""A timeline's pieces: windows one after another that say the same, and the files of them."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from videollama2.scale.subtitles import clock, cue_text, srt_cue
from videollama2.storage.lines import iterate_lines

_LEVELS = 240


@dataclass(frozen=True)
class Piece:
    """A stretch in which nothing changes: what is said of it, or why nothing is.

    `thumbnail` is the first window's (base64 of a JPEG); `levels` how loud it is along the way.
    """

    start: float
    end: float
    text: str
    windows: int
    failure: str | None
    thumbnail: str
    levels: tuple[float, ...]


def pieces_of(rows: Path) -> Iterator[Piece]:
    """Windows merged where the words are the same, whatever their case and marks."""
    open_: Piece | None = None
    for row in iterate_lines(rows):
        piece = _piece(row)
        if open_ is not None and _key(open_) == _key(piece):
            levels = (*open_.levels, *piece.levels)
            if len(levels) > _LEVELS:  # however long it is
                levels = tuple(max(levels[at : at + 2]) for at in range(0, len(levels), 2))
            open_ = Piece(open_.start, piece.end, open_.text, open_.windows + 1, open_.failure,
                          open_.thumbnail, levels)  # fmt: skip
            continue
        if open_ is not None:
            yield open_
        open_ = piece
    if open_ is not None:
        yield open_


def write_srt(path: Path, pieces: Iterator[Piece]) -> None:
    """Numbered cues; stretches without an answer have none."""
    with whole(path) as file:
        said = (piece for piece in pieces if piece.failure is None)
        for number, piece in enumerate(said, 1):
            file.write(srt_cue(number, piece.start, piece.end, piece.text))


def write_vtt(path: Path, pieces: Iterator[Piece]) -> None:
    """WebVTT, which has no `<` and `&` in its text."""
    with whole(path) as file:
        file.write("WEBVTT\n\n")
        for piece in pieces:
            if piece.failure is None:
                text = cue_text(piece.text).replace("&", "&amp;").replace("<", "&lt;")
                times = f"{clock(piece.start, '.')} --> {clock(piece.end, '.')}"
                file.write(f"{times}\n{text}\n\n")


def write_json(path: Path, pieces: Iterator[Piece], name: str, every_s: float) -> int:
    """One object with a list of pieces; gives how many there are."""
    head = json.dumps({"source": name, "every_s": every_s})[:-1]
    count = 0
    with whole(path) as file:
        file.write(f'{head}, "pieces": [')
        for count, piece in enumerate(pieces, 1):
            values = {"start": piece.start, "end": piece.end, "text": piece.text,
                      "windows": piece.windows, "failure": piece.failure}  # fmt: skip
            file.write(("," if count > 1 else "") + "\n " + json.dumps(values))
        file.write("\n]}\n")
    return count


@contextmanager
def whole(path: Path) -> Generator[TextIO]:
    """A text file to write to, there in the end whole or as it was."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        yield file
    beside.replace(path)


def _piece(row: dict[str, Any]) -> Piece:
    failure = None if row["failure"] is None else str(row["reason"])
    text = "\n".join(row["answers"])
    return Piece(
        float(row["start"]),
        float(row["end"]),
        text,
        1,
        failure,
        str(row["thumbnail"]),
        tuple(row["levels"]),
    )


def _key(piece: Piece) -> tuple[str | None, str]:
    return piece.failure, " ".join(re.findall(r"\w+", piece.text.casefold()))
