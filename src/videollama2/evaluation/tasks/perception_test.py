"""Perception Test: what is seen, remembered and concluded in staged clips, one of three answers.

Fields besides the released ones (`answer_id`, `area`, `reasoning`) are those of the published
`mc_question_valid.json`: github.com/google-deepmind/perception_test, "Perception Test annotations".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from videollama2.evaluation import letters
from videollama2.evaluation.letters import LETTERS, ONLY_THE_LETTER, lettered, multiple_choice
from videollama2.evaluation.reading import Item, find_media, json_members
from videollama2.evaluation.task import (
    Marks,
    MediaFile,
    Metric,
    NeededFile,
    Question,
    Submission,
    Task,
)


def _read(root: Path, split: str) -> Iterator[Question]:
    seen: set[str] = set()
    for video in json_members(root / f"mc_question_{split}.json"):
        name = video.item("metadata").filled("video_id")
        medium = MediaFile("video", name, find_media(root / "videos", name))
        for item in video.items("mc_question"):
            yield _question(item, name, medium, split, seen)


def _question(item: Item, video: str, medium: MediaFile, split: str, seen: set[str]) -> Question:
    options, number = item.texts("options"), item.number("id")
    if len(options) != 3:
        raise item.wrong("options", f"are {len(options)}, not 3")
    if number != int(number):
        raise item.wrong("id", "is no whole number")
    answered = split != "test"
    right = item.number("answer_id") if answered else 0
    if right not in range(3):
        raise item.wrong("answer_id", f"is {right:g}, no number from 0 to 2")
    return Question(
        id=item.once("id", f"{video} {int(number)}", seen),
        prompts=(
            f"Question: {item.text('question')}\nOptions:\n{lettered(options)}{ONLY_THE_LETTER}",
        ),
        media=(medium,),
        references=(LETTERS[int(right)],) if answered else (),
        options=options,
        cluster=video,
        groups={kind: item.text(kind) for kind in ("area", "reasoning") if kind in item.values},
        details={"id": int(number)},
    )


def _submission(rows: Iterable[tuple[Question, Sequence[str], Marks]]) -> str:
    """One line a video, as the released script's file: {video: [{id, answer_id, answer}]}."""
    videos: dict[str, list[dict[str, object]]] = {}
    for question, _, marks in rows:
        place = LETTERS.index(marks.released.parse or "C")
        videos.setdefault(question.cluster, []).append(
            {
                "id": question.details["id"],
                "answer_id": place,
                "answer": question.options[place],
            }
        )
    lines = (f"{json.dumps(video)}: {json.dumps(answers)}" for video, answers in videos.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


PERCEPTION_TEST = Task(
    name="perception_test",
    title="Perception Test",
    folder="perception_test_mcqa",
    size=11528,
    modality="video",
    metrics=(Metric("accuracy", "right letters"),),
    source="https://github.com/google-deepmind/perception_test",
    licence="CC BY 4.0",
    files=(
        NeededFile(
            "mc_question_test.json",
            "questions, from mc_question_test_annotations.zip",
            splits=("test",),
        ),
        NeededFile(
            "mc_question_valid.json", "validation questions with answers", splits=("valid",)
        ),
        NeededFile("videos/", "videos named video_id.mp4, unpacked from the split's zip"),
    ),
    read=_read,
    score=multiple_choice(letters.PERCEPTION_TEST),
    splits=("test", "valid"),
    submission=Submission(
        "submission.json",
        "the challenge on EvalAI scores it (eval.ai/web/challenges/challenge-page/2091)",
        _submission,
    ),
    note="The answers of the test split are not public; EvalAI scores them.",
)
