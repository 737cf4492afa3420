"""What people point at -> clips: a folder, list, pattern, Parquet or WebDataset shards."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import product
from pathlib import Path
from typing import Any, cast

from videollama2.media.source import SCHEME
from videollama2.scale.clips import Clip, shown
from videollama2.scale.errors import BulkError
from videollama2.scale.parquet import parquet_clips
from videollama2.scale.shards import tar_clips

VIDEOS = (
    *(".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"),
    *(".flv", ".wmv", ".3gp", ".ogv", ".gif"),
)
SOUNDS = (".wav", ".mp3", ".flac", ".m4a", ".aac", ".ogg", ".opus", ".aiff", ".wma")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MEDIA = (*VIDEOS, *SOUNDS, *PICTURES)
LISTS = (".txt", ".lst", ".list")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 1_000_000


@dataclass
class Found:
    """What an input holds: `clips` (once), and by then how many files were no media."""

    clips: Iterator[Clip]
    ignored: int = 0


def find_clips(given: str) -> Found:
    """The clips of an input, in the same order each time.

    A folder is searched to its bottom for media, `.tar` shards and `.parquet` tables; a pattern
    (`clips/*.mp4`, `shards/{000..099}.tar`) for the same. A list is a text file of paths or
    addresses, one a line, or JSON Lines with `clip` and, if wanted, `id`, `start`, `end` and
    `question`; relative paths begin at the list. A Parquet table has a column `clip`, `path`,
    `video` or `url`, or one of bytes.

    Raises:
        BulkError: there is no such input, or the list is malformed.
    """
    found = Found(iter(()))
    suffix = os.path.splitext(given)[1].lower()
    path = Path(given)
    if path.is_dir():
        found.clips = _expand(found, _files_below(given), lambda file: os.path.relpath(file, given))
    elif path.exists() and suffix in LISTS:
        found.clips = _listed(path)
    elif path.exists() and suffix == ".jsonl":
        found.clips = _json_listed(path)
    elif path.exists() or SCHEME.match(given):
        found.clips = _expand(found, iter([given]), lambda file: file, named=True)
    elif has_magic(given) or _RANGE.search(given):
        files = _matching(given)
        found.clips = _expand(found, iter(files), lambda file: file)
    else:
        raise BulkError(given, "there is no such file or folder", "Name one that is there")
    return found


def _expand(
    found: Found, files: Iterator[str], name: Callable[[str], str], *, named: bool = False
) -> Iterator[Clip]:
    """Shards and tables as their clips; files that are no media are left out unless `named`."""
    for file in files:
        suffix = os.path.splitext(file)[1].lower()
        if suffix == ".tar":
            yield from tar_clips(file, shown(name(file)), _rank)
        elif suffix == ".parquet":
            yield from parquet_clips(file, shown(name(file)))
        elif suffix in MEDIA or named:
            yield Clip(shown(name(file)), file)
        else:
            found.ignored += 1


def _rank(suffix: str) -> int | None:
    """Which of a sample's media is the clip: a video before a sound before a picture."""
    for rank, kinds in enumerate((VIDEOS, SOUNDS, PICTURES)):
        if suffix in kinds:
            return rank
    return None


def _files_below(folder: str) -> Iterator[str]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):  # such as the ._ files that macOS leaves
                yield os.path.join(here, name)


def _matching(pattern: str) -> list[str]:
    ranges = _RANGE.findall(pattern)
    count = 1
    for first, last in ranges:
        count *= max(int(last) - int(first) + 1, 0)
    if not 1 <= count <= _MOST_SHARDS:
        raise BulkError(pattern, f"it stands for {count:,} names", "Mend the range")
    names: list[str] = []
    numbers = [
        [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        for first, last in ranges
    ]
    for chosen in product(*numbers):
        filled = iter(chosen)
        names.append(_RANGE.sub(lambda _: next(filled), pattern))  # noqa: B023  (used at once)
    if ranges and not has_magic(_RANGE.sub("", pattern)):
        return names  # every one of them is meant, also those that are missing
    files = sorted({file for name in names for file in glob(name, recursive=True)})
    files = [file for file in files if not os.path.isdir(file)]
    if not files:
        raise BulkError(pattern, "nothing has such a name", "Quote it, so that no shell expands it")
    return files


def _listed(file: Path) -> Iterator[Clip]:
    with file.open("rb") as lines:
        for line in lines:
            name = os.fsdecode(line.strip(b"\r\n\t "))
            if name:
                yield from _expand(
                    Found(iter(())), iter([_beside(file, name)]), lambda _, name=name: name,
                    named=True,
                )  # fmt: skip


def _beside(file: Path, name: str) -> str:
    if SCHEME.match(name) or os.path.isabs(name):
        return name
    return os.path.join(file.parent, name)


def _json_listed(file: Path) -> Iterator[Clip]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _from_values(file, number, line)


def _from_values(file: Path, number: int, line: bytes) -> Clip:
    def wrong(reason: str) -> BulkError:
        return BulkError(
            f"{file}, line {number}", reason, 'A line is like {"clip": "a.mp4", "start": 3}'
        )

    try:
        value: object = json.loads(line)
    except ValueError:
        raise wrong("it is no JSON") from None
    if not isinstance(value, dict):
        raise wrong("it is no object")
    values = cast(dict[str, Any], value)
    unknown = sorted(set(values) - {"clip", "id", "start", "end", "question"})
    if unknown:
        raise wrong(f"it has unknown fields ({', '.join(unknown)})")
    clip = values.get("clip")
    if not isinstance(clip, str) or not clip:
        raise wrong("its clip is no path")
    times: list[float | None] = []
    for name in ("start", "end"):
        time: object = values.get(name)
        if time is not None and (isinstance(time, bool) or not isinstance(time, (int, float))):
            raise wrong(f"its {name} is no number of seconds")
        times.append(None if time is None else float(time))
    question: object = values.get("question")
    if question is not None and (not isinstance(question, str) or not question.strip()):
        raise wrong("its question is no text")
    start, end = times
    name = str(values["id"]) if values.get("id") is not None else shown(clip)
    if values.get("id") is None and (start is not None or end is not None):
        name += f"#t={0 if start is None else start:g}" + ("" if end is None else f",{end:g}")
    questions = () if question is None else (question,)
    return Clip(name, _beside(file, clip), start, end, questions)
