"""One clip of a bulk run: its name in the output, and where its bytes are."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Slice:
    """Bytes inside a file: a member of a tar archive."""

    offset: int
    size: int


@dataclass(frozen=True)
class Cell:
    """Bytes inside a Parquet file: row `row` of row group `group`."""

    group: int
    row: int
    column: str


@dataclass(frozen=True)
class Clip:
    """One clip, or a file that holds none that can be read (`problem` says why).

    `id` names it in the output, in UTF-8 whatever its file name is. `path` is a file or address,
    as the system names it (undecodable bytes as surrogates). `start` and `end` in seconds.
    `questions` are asked of this clip instead of the run's own.
    """

    id: str
    path: str
    start: float | None = None
    end: float | None = None
    questions: tuple[str, ...] = ()
    inside: Slice | Cell | None = None
    problem: str | None = None

    def as_json(self) -> str:
        """As ASCII text, which goes anywhere."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Clip:
        """The clip of `as_json`."""
        values: dict[str, Any] = json.loads(text)
        inside = values.pop("inside")
        if inside is not None:
            inside = Slice(**inside) if "offset" in inside else Cell(**inside)
        questions: tuple[str, ...] = tuple(values.pop("questions"))
        return cls(**values, questions=questions, inside=inside)


@dataclass(frozen=True)
class Failure:
    """Why a clip has no answers.

    "missing": no such file; "unreadable": no medium, damaged, or too large; "refused": this model
    cannot be asked about it; "lost": whatever worked on it died each time.
    """

    kind: Literal["missing", "unreadable", "refused", "lost"]
    reason: str


@dataclass(frozen=True)
class Share:
    """Part `number` (from 0) of `of` equal parts of the clips, the same on every machine."""

    number: int = 0
    of: int = 1

    def has(self, clip: Clip) -> bool:
        """Whether a clip is in this part."""
        return zlib.crc32(clip.id.encode()) % self.of == self.number

    @classmethod
    def parse(cls, text: str) -> Share:
        """`0/8` is the first of eight parts.

        Raises:
            ValueError: it has another form, or there is no such part.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal()) or int(number) >= int(of):
            raise ValueError(f"a share is {text!r}: it must be like 0/8, from 0/8 to 7/8")
        return cls(int(number), int(of))


def shown(path: str) -> str:
    """A path as UTF-8 text: bytes that are none are written out, as in `caf\\xe9.mp4`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Names:
    """Gives each clip an id of its own, and finds those that come twice."""

    def __init__(self) -> None:
        self.duplicates = 0
        self._places: dict[str, tuple[object, ...]] = {}

    def distinct(self, clips: Iterable[Clip]) -> Iterator[Clip]:
        """The clips, each once; different ones of the same id become `id`, `id#2`, ..."""
        for clip in clips:
            place = (clip.path, clip.start, clip.end, clip.inside, clip.questions)
            name, number = clip.id, 1
            while (known := self._places.get(name)) is not None and known != place:
                number += 1
                name = f"{clip.id}#{number}"
            if known is not None:
                self.duplicates += 1
                continue
            self._places[name] = place
            yield clip if name == clip.id else replace(clip, id=name)
