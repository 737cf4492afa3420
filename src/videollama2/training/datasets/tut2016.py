"""TUT Acoustic Scenes 2016, development set: half a minute of fifteen kinds of places.

Publisher: zenodo.org/record/45739, the set's README: `meta.txt`, tab-separated without header:
audio file ("audio/a001_0_30.wav"), scene label ("cafe/restaurant", "city_center").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Read, Task
from videollama2.training.datasets.errors import RowError
from videollama2.training.datasets.making import caption, choice_turn, stem
from videollama2.training.datasets.reading import Row, column_rows, each
from videollama2.training.datasets.record import Record, Skipped, Turn
from videollama2.training.datasets.wordings import SCENE_CHOICE, SCENE_LABEL

# The released TUT2017 prompt's options, in its order.
SCENES = (
    "beach",
    "bus",
    "cafe or restaurant",
    "car",
    "city center",
    "forest path",
    "grocery store",
    "home",
    "library",
    "metro station",
    "office",
    "park",
    "residential area",
    "train",
    "tram",
)
_FIELDS = ("audio file", "scene label")


def scene_tasks(prefix: str) -> tuple[Task, ...]:
    """The tasks of a set of scenes whose records' ids begin with `prefix`."""
    choice = _reading(lambda path, scene: _choice(prefix, path, scene))
    label = _reading(lambda path, scene: caption(f"{prefix}/{stem(path)}", "audio", path, scene))
    return (
        Task("choice", ("meta.txt",), _FIELDS, SCENE_CHOICE, choice, slots=("options",)),
        Task("label", ("meta.txt",), _FIELDS, SCENE_LABEL, label),
    )


def _choice(prefix: str, path: str, scene: str) -> Record:
    turn: Turn = choice_turn("", SCENES, SCENES.index(scene))
    return Record(f"{prefix}/{stem(path)}", "audio", path, (turn,))


def _reading(make: Callable[[str, str], Record]) -> Read:
    def recording(row: Row) -> Iterable[Record]:
        path, label = (row.text(field) for field in _FIELDS)
        scene = label.replace("/", " or ").replace("_", " ")
        if scene not in SCENES:
            raise RowError(f"{label!r} is no scene of this set")
        yield make(path, scene)

    def read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
        yield from each(files[0], column_rows(files[0], _FIELDS, "\t"), recording)

    return read


TUT2016 = DataSet(
    name="tut2016",
    title="TUT Acoustic Scenes 2016",
    kind="audio",
    source="https://zenodo.org/record/45739",
    licence="free for non-commercial use (Tampere University of Technology's EULA)",
    stage="audio",
    paper_note="one of those behind 698K of audio tuning",
    tasks=scene_tasks("tut2016"),
)
