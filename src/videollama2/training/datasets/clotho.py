"""Clotho v2.1: Freesound recordings, each described by five people.

Publisher: zenodo.org/record/4783391: `clotho_captions_development.csv` with the columns
`file_name`, `caption_1` ... `caption_5`; `clotho_audio_development.7z` unpacks to `development/`.
Each description is a record of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, csv_rows, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import SOUND_CAPTION

_CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
_FIELDS = ("file_name", *_CAPTIONS)


def _read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    yield from each(files[0], csv_rows(files[0], _FIELDS), _sounds)


def _sounds(row: Row) -> Iterator[Record]:
    name = row.text("file_name")
    for number, field in enumerate(_CAPTIONS, 1):
        record_id = f"clotho/{name}/{number}"
        elsewhere = (f"clotho_audio_development/{name}",)
        yield caption(record_id, "audio", f"development/{name}", row.text(field), elsewhere)


CLOTHO = DataSet(
    name="clotho",
    title="Clotho",
    kind="audio",
    source="https://zenodo.org/record/4783391",
    licence="captions: Tampere University's, non-commercial; sounds: each its Creative Commons one",
    stage="audio",
    paper_note="one of those behind 698K of audio tuning",
    tasks=(Task("caption", ("clotho_captions_development.csv",), _FIELDS, SOUND_CAPTION, _read),),
)
