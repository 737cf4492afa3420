"""AudioCaps: ten seconds of AudioSet, described by people.

Publisher: github.com/cdjkim/audiocaps, `dataset/README.md`: `dataset/train.csv` with the columns
`audiocap_id`, `youtube_id`, `start_time`, `caption`. The publisher gives no sound files, hence no
names for them: `audio/<youtube_id>_<start_time>.wav`, `audio/<audiocap_id>.wav` and
`audio/Y<youtube_id>.wav` (as AudioSet's copies are named) are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, csv_rows, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import SOUND_CAPTION

_FIELDS = ("audiocap_id", "youtube_id", "start_time", "caption")


def _read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    yield from each(files[0], csv_rows(files[0], _FIELDS), _sound)


def _sound(row: Row) -> Iterator[Record]:
    number, video, start, text = (row.text(field) for field in _FIELDS)
    path = f"audio/{video}_{start}.wav"
    elsewhere = (f"audio/{number}.wav", f"audio/Y{video}.wav")
    yield caption(f"audiocaps/{number}", "audio", path, text, elsewhere)


AUDIOCAPS = DataSet(
    name="audiocaps",
    title="AudioCaps",
    kind="audio",
    source="https://github.com/cdjkim/audiocaps",
    licence="academic purposes only; the sounds are YouTube's uploaders'",
    licence_verified=True,
    stage="audio",
    paper_note="one of those behind 698K of audio tuning",
    tasks=(Task("caption", ("dataset/train.csv",), _FIELDS, SOUND_CAPTION, _read),),
)
