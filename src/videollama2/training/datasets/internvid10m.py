"""InternVid-10M-FLT: clips of YouTube videos with generated captions.

Publisher: huggingface.co/datasets/OpenGVLab/InternVid: `InternVid-10M-flt.jsonl`, one object a
line with `YoutubeID`, `Start_timestamp`, `End_timestamp` (00:03:10.567), `Caption`,
`Aesthetic_Score`, `UMT_Score`. Clips are `<YoutubeID>_<Start>_<End>.mp4`, as in the publisher's
InternVId-FLT archives, in the root or in `videos/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, each, json_line_rows
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import VIDEO_CAPTION

_FIELDS = ("YoutubeID", "Start_timestamp", "End_timestamp", "Caption")


def _read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    yield from each(files[0], json_line_rows(files[0]), _clip)


def _clip(row: Row) -> Iterator[Record]:
    video, start, end, text = (row.text(field) for field in _FIELDS)
    name = f"{video}_{start}_{end}"
    yield caption(f"internvid-10m/{name}", "video", f"{name}.mp4", text, (f"videos/{name}.mp4",))


INTERNVID_10M = DataSet(
    name="internvid-10m",
    title="InternVid-10M-FLT",
    kind="video",
    source="https://huggingface.co/datasets/OpenGVLab/InternVid",
    licence="CC BY-NC-SA 4.0; the videos are YouTube's uploaders'",
    stage="pre-training",
    paper_size=650_000,
    tasks=(Task("caption", ("InternVid-10M-flt.jsonl",), _FIELDS, VIDEO_CAPTION, _read),),
)
