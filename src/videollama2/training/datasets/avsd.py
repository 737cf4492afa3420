"""AVSD (DSTC7): dialogues of ten questions about what is seen and heard in Charades' videos.

Publisher: github.com/hudaAlamri/DSTC7-Audio-Visual-Scene-Aware-Dialog-AVSD-Challenge:
`train_set4DSTC7-AVSD.json`, {`dialogs`: [{`image_id`: Charades' video id, `dialog`: [{`question`,
`answer`}], ...}]}; an answer kept back is "__UNDISCLOSED__". Videos: `Charades_v1_480/<id>.mp4`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Read, Task
from videollama2.training.datasets.errors import PassedOverError
from videollama2.training.datasets.json_stream import json_rows
from videollama2.training.datasets.making import answers
from videollama2.training.datasets.reading import Row, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import QUESTION

_FILES = ("train_set4DSTC7-AVSD.json",)
_FIELDS = ("image_id", "dialog", "question", "answer")
_KEPT_BACK = "__UNDISCLOSED__"


def _reading(one_by_one: bool) -> Read:
    def dialogue(row: Row) -> Iterable[Record]:
        video = row.text("image_id")
        turns = [(turn.text("question"), turn.text("answer")) for turn in row.rows("dialog")]
        known = [turn for turn in turns if turn[1] != _KEPT_BACK]
        if not known:
            raise PassedOverError("its answers are kept back")
        path = f"Charades_v1_480/{video}.mp4"
        elsewhere = (f"Charades_v1/{video}.mp4", f"videos/{video}.mp4")
        if not one_by_one:
            yield answers(f"avsd/{video}", "video", path, known, elsewhere)
            return
        for number, turn in enumerate(known, 1):
            yield answers(f"avsd/{video}/{number}", "video", path, [turn], elsewhere)

    def read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
        yield from each(files[0], json_rows(files[0], "dialogs"), dialogue)

    return read


AVSD = DataSet(
    name="avsd",
    title="AVSD (DSTC7)",
    kind="video",
    source="https://github.com/hudaAlamri/DSTC7-Audio-Visual-Scene-Aware-Dialog-AVSD-Challenge",
    licence="not stated by its publisher; the videos under Charades' non-commercial licence",
    stage="audio-visual",
    paper_note="one of those behind 836K of audio-visual tuning",
    tasks=(
        Task("dialogue", _FILES, _FIELDS, QUESTION, _reading(False), slots=("question",)),
        Task("qa", _FILES, _FIELDS, QUESTION, _reading(True), slots=("question",)),
    ),
)
