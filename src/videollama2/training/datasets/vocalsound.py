"""VocalSound: laughter, sighs, coughs, throat clearing, sneezes and sniffs.

Publisher: github.com/YuanGongND/vocalsound, README and `src/prep_data.py`: `datafiles/tr.json`,
{`data`: [{`wav`: a path whose last part is the file's name, `labels`: "/m/01b_21"}]};
`class_labels_indices_vs.csv` with `index`, `mid`, `display_name`; the sounds in `audio_16k/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from videollama2.training.datasets.base import DataSet, Read, Task
from videollama2.training.datasets.errors import RowError
from videollama2.training.datasets.json_stream import json_rows
from videollama2.training.datasets.making import choice_turn
from videollama2.training.datasets.reading import Row, csv_rows, each, look_up
from videollama2.training.datasets.record import Record, Skipped, Turn
from videollama2.training.datasets.wordings import VOICE_CHOICE, VOICE_LABEL

_FIELDS = ("wav", "labels")


def _reading(lettered: bool) -> Read:
    def read(files: Sequence[Path], lookups: Sequence[Path]) -> Iterator[Record | Skipped]:
        named = csv_rows(lookups[0], ("index", "mid", "display_name"))
        names = look_up(lookups[0], named, lambda row: (row.text("mid"), row.text("display_name")))
        labels = list(names.values())

        def sound(row: Row) -> Iterable[Record]:
            file = PurePosixPath(row.text("wav")).name
            if (name := names.get(row.text("labels"))) is None:
                raise RowError(f"{row.text('labels')!r} is no label of {lookups[0].name}")
            turn = choice_turn("", labels, labels.index(name)) if lettered else Turn(name)
            elsewhere = (f"audio_44k/{file}",)
            record_id = f"vocalsound/{PurePosixPath(file).stem}"
            yield Record(record_id, "audio", f"audio_16k/{file}", (turn,), elsewhere)

        yield from each(files[0], json_rows(files[0], "data"), sound)

    return read


_FILES = ("datafiles/tr.json",)
_NAMES = ("class_labels_indices_vs.csv",)

VOCALSOUND = DataSet(
    name="vocalsound",
    title="VocalSound",
    kind="audio",
    source="https://github.com/YuanGongND/vocalsound",
    licence="CC BY-SA 4.0",
    stage="audio",
    paper_note="one of those behind 698K of audio tuning",
    tasks=(
        Task("choice", _FILES, _FIELDS, VOICE_CHOICE, _reading(True), _NAMES, ("options",)),
        Task("label", _FILES, _FIELDS, VOICE_LABEL, _reading(False), _NAMES),
    ),
)
