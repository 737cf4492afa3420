"""MSVD-QA and ActivityNet-QA: short answers about videos, judged yes or no and from 0 to 5."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.judge_prompts import ask_match
from videollama2.evaluation.reading import MORE_VIDEO_FORMATS, existing, json_items
from videollama2.evaluation.task import Judgement, MediaFile, Metric, NeededFile, Question, Task

_QUESTIONS, _ANSWERS = "test_q.json", "test_a.json"


def _read(root: Path, split: str, *, videos: str) -> Iterator[Question]:
    questions, answers = json_items(root / _QUESTIONS), json_items(root / _ANSWERS)
    if len(questions) != len(answers):
        raise AnnotationError(
            root / _ANSWERS, f"{len(answers)} answers to {len(questions)} questions"
        )
    seen: set[str] = set()
    for item, answer in zip(questions, answers, strict=True):
        number = item.once("question_id", item.text("question_id"), seen)
        if "question_id" in answer.values and answer.text("question_id") != number:
            raise answer.wrong("question_id", f"is not that of the question there ({number})")
        name = item.filled("video_name")
        yield Question(
            id=number,
            prompts=(item.text("question"),),
            media=(MediaFile("video", name, _video(root / videos, name)),),
            references=(answer.text("answer"),),
            cluster=name,
            details={"question": item.text("question")},
        )


def _video(folder: Path, name: str) -> Path | None:
    stems = [(ending, stem) for ending in MORE_VIDEO_FORMATS for stem in (f"v_{name}", name)]
    paths = (folder / f"{stem}{ending}" for ending, stem in stems)
    return next((path for path in paths if existing(path) and path.is_file()), None)


def _task(
    name: str, title: str, folder: str, videos: str, size: int, source: str, licence: str
) -> Task:
    return Task(
        name=name,
        title=title,
        folder=folder,
        size=size,
        modality="video",
        metrics=(
            Metric("accuracy", "answers that the judge takes for right"),
            Metric("score", "how well they match, by the judge", "score"),
        ),
        source=source,
        licence=licence,
        files=(
            NeededFile(_QUESTIONS, "questions, in Video-ChatGPT's zero-shot form"),
            NeededFile(_ANSWERS, "answers in the same order"),
            NeededFile(f"{videos}/", "videos named video_name or v_video_name"),
        ),
        read=partial(_read, videos=videos),
        judgements=(Judgement("match", ask_match, "score", yes_metric="accuracy"),),
        note="Published figures were judged by GPT-3.5-turbo-0613: another judge, other figures.",
    )


MSVD_QA = _task(
    "msvd_qa",
    "MSVD-QA",
    "MSVD_Zero_Shot_QA",
    "videos",
    13157,
    "https://github.com/xudejing/video-question-answering",
    "not stated by its publisher; the videos are YouTube's uploaders'",
)
ACTIVITYNET_QA = _task(
    "activitynet_qa",
    "ActivityNet-QA",
    "Activitynet_Zero_Shot_QA",
    "all_test",
    8000,
    "https://github.com/MILVLG/activitynet-qa",
    "MIT (questions); the videos are YouTube's uploaders'",
)
