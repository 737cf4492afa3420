"""AVQA: questions about what is both seen and heard in real-life videos.

Publisher: mn.cs.tsinghua.edu.cn/avqa, github.com/AlyssaYoung/AVQA: `data/train_qa.json`, a list of
{`id`, `video_name`: "-HG3Omg_89c_000030", `video_id`, `question_text`, `multi_choice`: [four],
`answer`: index, `question_relation`, `question_type`}; videos at `data/video/<video_name>.mp4`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Read, Task
from videollama2.training.datasets.errors import RowError
from videollama2.training.datasets.json_stream import json_rows
from videollama2.training.datasets.making import choice_turn
from videollama2.training.datasets.reading import Row, each
from videollama2.training.datasets.record import Record, Skipped, Turn
from videollama2.training.datasets.wordings import QUESTION, QUESTION_CHOICE

_FIELDS = ("id", "video_name", "question_text", "multi_choice", "answer")


def _reading(lettered: bool) -> Read:
    def question(row: Row) -> Iterable[Record]:
        name = row.text("video_name")
        asked = row.text("question_text")
        labels = [str(label).strip() for label in row.items("multi_choice")]
        right = row.number("answer")
        if right not in range(len(labels)):
            raise RowError("'answer' is none of the choices")
        turn = choice_turn(asked, labels, int(right))
        if not lettered:
            turn = Turn(labels[int(right)], {"question": asked})
        path = f"data/video/{name}.mp4"
        record_id = f"avqa/{row.text('id')}"
        yield Record(record_id, "video", path, (turn,), (f"videos/{name}.mp4",))

    def read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
        yield from each(files[0], json_rows(files[0]), question)

    return read


_FILES = ("data/train_qa.json",)

AVQA = DataSet(
    name="avqa",
    title="AVQA",
    kind="video",
    source="https://mn.cs.tsinghua.edu.cn/avqa",
    licence="not stated by its publisher; the videos are VGGSound's",
    stage="audio-visual",
    paper_note="one of those behind 836K of audio-visual tuning",
    tasks=(
        Task("qa", _FILES, _FIELDS, QUESTION, _reading(False), slots=("question",)),
        Task(
            "choice",
            _FILES,
            _FIELDS,
            QUESTION_CHOICE,
            _reading(True),
            slots=("question", "options"),
        ),
    ),
)
