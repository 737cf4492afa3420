"""MUSIC-AVQA: questions about players and instruments, seen and heard.

Publisher: github.com/GeWu-Lab/MUSIC-AVQA, README and `net_grd_avst/dataloader_avst.py`:
`data/json/avqa-train.json`, a list of {`video_id`, `question_id`, `question_content`: "How many
<Object> are sounding?", `templ_values`: the list as text that fills the <...> in order, `anser`
(so spelled), ...}; videos at `data/video/<video_id>.mp4`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.errors import RowError
from videollama2.training.datasets.json_stream import json_rows
from videollama2.training.datasets.making import answers
from videollama2.training.datasets.reading import Row, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import QUESTION

_FIELDS = ("video_id", "question_id", "question_content", "templ_values", "anser")
_PLACE = re.compile(r"<[^<>]*>")


def _read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    yield from each(files[0], json_rows(files[0]), _question)


def _question(row: Row) -> Iterator[Record]:
    video = row.text("video_id")
    asked = _filled(row.text("question_content"), row.text("templ_values"))
    pair = (asked, row.text("anser"))
    path = f"data/video/{video}.mp4"
    record_id = f"music-avqa/{row.text('question_id')}"
    yield answers(record_id, "video", path, [pair], (f"videos/{video}.mp4",))


def _filled(question: str, values: str) -> str:
    try:
        words: Any = ast.literal_eval(values)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        words = None
    if not isinstance(words, list):
        raise RowError("'templ_values' holds no list")
    left = [str(word) for word in cast(list[Any], words)]
    if len(_PLACE.findall(question)) != len(left):
        raise RowError("'templ_values' does not fit the question's places")
    return _PLACE.sub(lambda _: left.pop(0), question)


MUSIC_AVQA = DataSet(
    name="music-avqa",
    title="MUSIC-AVQA",
    kind="video",
    source="https://github.com/GeWu-Lab/MUSIC-AVQA",
    licence="GPL 3.0 as the repository states; the videos are YouTube's uploaders'",
    licence_verified=True,
    stage="audio-visual",
    paper_note="one of those behind 836K of audio-visual tuning",
    tasks=(
        Task("qa", ("data/json/avqa-train.json",), _FIELDS, QUESTION, _read, slots=("question",)),
    ),
)
