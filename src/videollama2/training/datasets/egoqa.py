"""EgoQA: questions about first-person videos of Ego4D, as VideoChat2's authors made them.

Publisher: huggingface.co/datasets/OpenGVLab/VideoChat2-IT, read as in
github.com/OpenGVLab/Ask-Anything (`video_chat2/dataset/it_dataset.py`):
`video/vqa/ego_qa/train.json`, a list of {`video`, `QA`: [{`i`: instruction, `q`, `a`}]}; the
clips are the publisher's `split_videos/` (`egoqa_split_videos.zip`). A row that asks for a part
of its clip (`start`, `end`) is malformed here: these clips are cut already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.errors import RowError
from videollama2.training.datasets.json_stream import json_rows
from videollama2.training.datasets.reading import Row, each
from videollama2.training.datasets.record import Record, Skipped, Turn
from videollama2.training.datasets.wordings import QUESTION

_FIELDS = ("video", "QA", "q", "a")


def _read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    told = 0

    def clip(row: Row) -> Iterator[Record]:
        nonlocal told
        told += 1
        if "start" in row.values and "end" in row.values:
            raise RowError("it asks for a part of its clip")
        video = row.text("video")
        turns = tuple(
            Turn(
                pair.text("a"),
                {"question": pair.text("q"), "instruction": str(pair.values.get("i", "")).strip()},
            )
            for pair in row.rows("QA")
        )
        elsewhere = (f"egoqa_split_videos/{video}", video)
        yield Record(f"egoqa/{told}", "video", f"split_videos/{video}", turns, elsewhere)

    yield from each(files[0], json_rows(files[0]), clip)


EGOQA = DataSet(
    name="egoqa",
    title="EgoQA",
    kind="video",
    source="https://huggingface.co/datasets/OpenGVLab/VideoChat2-IT",
    licence="annotations: as VideoChat2-IT's card says; the videos under Ego4D's licence",
    stage="fine-tuning",
    paper_note="one of those behind 161K of video questions",
    tasks=(
        Task(
            "qa",
            ("video/vqa/ego_qa/train.json",),
            _FIELDS,
            QUESTION,
            _read,
            slots=("question", "instruction"),
        ),
    ),
)
