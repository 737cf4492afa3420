"""WebVid-10M: stock clips with their sellers' captions.

Publisher: github.com/m-bain/webvid; `results_10M_train.csv` has the columns `videoid`,
`contentUrl`, `duration`, `page_dir`, `name` (the caption). Clips lie at
`videos/<page_dir>/<videoid>.mp4`, or without the page's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, csv_rows, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import VIDEO_CAPTION

_FIELDS = ("videoid", "page_dir", "name")


def _read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    yield from each(files[0], csv_rows(files[0], _FIELDS), _clip)


def _clip(row: Row) -> Iterator[Record]:
    video = row.text("videoid")
    path = f"videos/{row.text('page_dir')}/{video}.mp4"
    yield caption(f"webvid-10m/{video}", "video", path, row.text("name"), (f"videos/{video}.mp4",))


WEBVID_10M = DataSet(
    name="webvid-10m",
    title="WebVid-10M",
    kind="video",
    source="https://github.com/m-bain/webvid",
    licence="non-commercial research; withdrawn by its authors, the clips are Shutterstock's",
    stage="pre-training",
    paper_size=4_000_000,
    tasks=(Task("caption", ("results_10M_train.csv",), _FIELDS, VIDEO_CAPTION, _read),),
)
