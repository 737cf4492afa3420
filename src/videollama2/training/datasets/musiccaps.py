"""MusicCaps: ten seconds of music, described by musicians.

Publisher: huggingface.co/datasets/google/MusicCaps: `musiccaps-public.csv` with the columns
`ytid`, `start_s`, `end_s`, `audioset_positive_labels`, `aspect_list`, `caption`, `author_id`,
`is_balanced_subset`, `is_audioset_eval`. The publisher gives no sound files, hence no names for
them: `audio/<ytid>.wav`, `audio/<ytid>_<start_s>_<end_s>.wav` and `<ytid>.wav` are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, csv_rows, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import MUSIC_CAPTION

_FIELDS = ("ytid", "start_s", "end_s", "caption")


def _read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    yield from each(files[0], csv_rows(files[0], _FIELDS), _music)


def _music(row: Row) -> Iterator[Record]:
    video, start, end, text = (row.text(field) for field in _FIELDS)
    elsewhere = (f"audio/{video}_{start}_{end}.wav", f"{video}.wav")
    yield caption(f"musiccaps/{video}_{start}", "audio", f"audio/{video}.wav", text, elsewhere)


MUSICCAPS = DataSet(
    name="musiccaps",
    title="MusicCaps",
    kind="audio",
    source="https://huggingface.co/datasets/google/MusicCaps",
    licence="CC BY-SA 4.0; the music is its owners'",
    stage="audio",
    paper_note="one of those behind 698K of audio tuning",
    tasks=(Task("caption", ("musiccaps-public.csv",), _FIELDS, MUSIC_CAPTION, _read),),
)
