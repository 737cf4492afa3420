"""Kinetics-710: Kinetics-400, -600 and -700 without their repetitions.

Publisher: UniFormerV2's authors; the lists are github.com/open-mmlab/mmaction2's
(`tools/data/kinetics710/README.md` and the kinetics710 configs):
`kinetics710/k400_train_list_videos.txt`, `k600_...`, `k700_...`, lines "<video> <class number>",
videos under `kinetics400/videos_train`, `kinetics600/videos`, `kinetics700/videos`;
`label_map_k710.txt` (same folder in the repository; here in `kinetics710/`) names class 0 in its
first line, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.errors import DataSetError, RowError
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, each, line_rows, opened
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import ACTION_LABEL

_FOLDERS = {
    "k400": "kinetics400/videos_train",
    "k600": "kinetics600/videos",
    "k700": "kinetics700/videos",
}
_FILES = tuple(f"kinetics710/{part}_train_list_videos.txt" for part in _FOLDERS)
_FIELDS = ("video", "class number")


def _read(files: Sequence[Path], lookups: Sequence[Path]) -> Iterator[Record | Skipped]:
    with opened(lookups[0]) as stream:
        names = [line.strip() for line in stream]
    for file in files:
        part = file.name[:4]
        if part not in _FOLDERS:
            raise DataSetError(
                file, "its name does not tell which Kinetics", "Begin it with k400, k600 or k700"
            )
        rows = line_rows(file, ("video", "class number"), at_last=True)
        yield from each(file, rows, _clip_of(part, names))


def _clip_of(part: str, names: Sequence[str]) -> Callable[[Row], Iterator[Record]]:
    def clip(row: Row) -> Iterator[Record]:
        video = row.text("video")
        number = row.number("class number")
        if number not in range(len(names)) or not names[int(number)]:
            raise RowError("'class number' is none of label_map_k710.txt")
        path = f"{_FOLDERS[part]}/{video}"
        yield caption(f"kinetics-710/{part}/{video}", "video", path, names[int(number)])

    return clip


KINETICS_710 = DataSet(
    name="kinetics-710",
    title="Kinetics-710",
    kind="video",
    source="https://github.com/open-mmlab/mmaction2/tree/main/tools/data/kinetics710",
    licence="CC BY 4.0 (Kinetics' annotations); the videos are YouTube's uploaders'",
    stage="fine-tuning",
    paper_note="with Something-Something v2, 79K of video classification",
    tasks=(
        Task(
            "classify",
            _FILES,
            _FIELDS,
            ACTION_LABEL,
            _read,
            lookups=("kinetics710/label_map_k710.txt",),
            any_number=True,
        ),
    ),
)
