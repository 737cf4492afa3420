"""ActivityNet: videos of human activities, told (Captions) and asked about (QA).

Publisher: cs.stanford.edu/people/ranjaykrishna/densevid (Captions): `train.json`, video id
("v_QOlSCBRmfWY") -> {`duration`, `timestamps`, `sentences`}; github.com/MILVLG/activitynet-qa
(QA): `train_q.json`, a list of {`video_name` without "v_", `question`, `question_id`}, and
`train_a.json`, a list of {`answer`, `question_id`, ...}. Videos are `v_<name>.mp4`, `.mkv` or
`.webm` in `videos/` or the root. The sentences of a video, in order, make one description.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.errors import RowError
from videollama2.training.datasets.json_stream import json_members, json_rows
from videollama2.training.datasets.making import answers, caption
from videollama2.training.datasets.reading import Row, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import QUESTION, VIDEO_PARAGRAPH

_QA_FIELDS = ("video_name", "question", "question_id", "answer")


def _places(video: str) -> list[str]:
    names = [f"{video}{ending}" for ending in (".mp4", ".mkv", ".webm")]
    return [f"{folder}{name}" for folder in ("videos/", "") for name in names]


def _captions(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    rows = (
        Row(row.where, {**row.values, "video": name}) if row.values else row
        for name, row in json_members(files[0])
    )
    yield from each(files[0], rows, _told)


def _told(row: Row) -> Iterator[Record]:
    text = " ".join(str(sentence).strip() for sentence in row.items("sentences")).strip()
    if not text:
        raise RowError("'sentences' are empty")
    video = row.text("video")
    path, *elsewhere = _places(video)
    yield caption(f"activitynet/{video}", "video", path, text, elsewhere)


def _questions(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    known: dict[str, str] = {}

    def answer(row: Row) -> Iterator[Record]:
        known[row.text("question_id")] = row.text("answer")
        yield from ()

    yield from each(files[1], json_rows(files[1]), answer)

    def question(row: Row) -> Iterator[Record]:
        number = row.text("question_id")
        asked = row.text("question")
        if number not in known:
            raise RowError(f"{files[1].name} has no answer to it")
        path, *elsewhere = _places(f"v_{row.text('video_name')}")
        record_id = f"activitynet-qa/{number}"
        yield answers(record_id, "video", path, [(asked, known[number])], elsewhere)

    yield from each(files[0], json_rows(files[0]), question)


ACTIVITYNET = DataSet(
    name="activitynet",
    title="ActivityNet Captions and QA",
    kind="video",
    source="https://github.com/MILVLG/activitynet-qa",
    licence="QA: MIT; Captions: not stated; the videos are YouTube's uploaders'",
    licence_verified=True,
    stage="fine-tuning",
    paper_note="its own count is not given",
    tasks=(
        Task("caption", ("train.json",), ("sentences",), VIDEO_PARAGRAPH, _captions),
        Task(
            "qa",
            ("train_q.json", "train_a.json"),
            _QA_FIELDS,
            QUESTION,
            _questions,
            slots=("question",),
        ),
    ),
)
