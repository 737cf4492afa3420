"""MSVD: short YouTube clips with many descriptions each, and questions made of them.

Publisher: cs.utexas.edu/users/ml/clamp/videoDescription: `AllVideoDescriptions.txt`, lines
"-4wsuPCjDBc_5_15 a squirrel is eating a peanut", remarks begin with #; clips at
`YouTubeClips/<id>.avi`. Questions: github.com/xudejing/video-question-answering: `train_qa.json`,
a list of {`answer`, `id`, `question`, `video_id`: 1201}; `youtube_mapping.txt`, lines
"<clip id> vid1201". Clips vid1 to vid1200 are for training; descriptions of others, which are
evaluated on, are passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.errors import PassedOverError, RowError
from videollama2.training.datasets.json_stream import json_rows
from videollama2.training.datasets.making import answers, caption
from videollama2.training.datasets.reading import Row, each, line_rows, look_up
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import QUESTION, VIDEO_CAPTION

_TRAINING_CLIPS = 1200
_MAPPING = ("youtube_mapping.txt",)


def _numbers(file: Path) -> dict[int, str]:
    """Number -> clip id."""
    return look_up(file, line_rows(file, ("clip", "number"), at_last=True), _pair)


def _pair(row: Row) -> tuple[int, str]:
    number = row.text("number").removeprefix("vid")
    if not number.isdecimal():
        raise RowError("no line of a clip's id and vid with a number")
    return int(number), row.text("clip")


def _captions(files: Sequence[Path], lookups: Sequence[Path]) -> Iterator[Record | Skipped]:
    training = {clip for number, clip in _numbers(lookups[0]).items() if number <= _TRAINING_CLIPS}
    told: Counter[str] = Counter()

    def description(row: Row) -> Iterator[Record]:
        clip, text = row.text("clip"), row.text("description")
        if clip not in training:
            raise PassedOverError("of no training clip")
        told[clip] += 1
        yield caption(f"msvd/{clip}/{told[clip]}", "video", f"YouTubeClips/{clip}.avi", text)

    yield from each(files[0], line_rows(files[0], ("clip", "description")), description)


def _questions(files: Sequence[Path], lookups: Sequence[Path]) -> Iterator[Record | Skipped]:
    clips = _numbers(lookups[0])

    def question(row: Row) -> Iterator[Record]:
        clip = clips.get(int(row.number("video_id")))
        if clip is None:
            raise RowError(f"'video_id' is none of {lookups[0].name}")
        pair = (row.text("question"), row.text("answer"))
        path = f"YouTubeClips/{clip}.avi"
        yield answers(f"msvd-qa/{row.text('id')}", "video", path, [pair])

    yield from each(files[0], json_rows(files[0]), question)


MSVD = DataSet(
    name="msvd",
    title="MSVD and MSVD-QA",
    kind="video",
    source="https://www.cs.utexas.edu/users/ml/clamp/videoDescription/",
    licence="not stated by its publisher; the videos are YouTube's uploaders'",
    stage="fine-tuning",
    paper_note="its own count is not given",
    tasks=(
        Task(
            "caption",
            ("AllVideoDescriptions.txt",),
            ("clip id", "description"),
            VIDEO_CAPTION,
            _captions,
            _MAPPING,
        ),
        Task(
            "qa",
            ("train_qa.json",),
            ("answer", "id", "question", "video_id"),
            QUESTION,
            _questions,
            _MAPPING,
            ("question",),
        ),
    ),
)
