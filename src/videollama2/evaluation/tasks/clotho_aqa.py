"""Clotho-AQA: one-word answers about everyday sounds.

The authors' list was never published; where it is not there, the publisher's own file is read:
zenodo.org/records/6473207, `clotho_aqa_test.csv` with the columns `file_name`, `QuestionText`,
`answer` and `confidence`, three rows a question: one of each person who answered it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from videollama2.evaluation.conversations import asked_and_answered
from videollama2.evaluation.exact import exact_match, plain_words
from videollama2.evaluation.reading import csv_items, existing, json_items
from videollama2.evaluation.task import Marks, MediaFile, Metric, NeededFile, Question, Task

_FILE, _PUBLISHED, _SOUNDS = "clothoAQA_eval.json", "clotho_aqa_test.csv", "audio_files"
_COLUMNS = ("file_name", "QuestionText", "answer")
_YES_NO = ("yes", "no")


def _read(root: Path, split: str) -> Iterator[Question]:
    if (root / _FILE).is_file():
        for item in json_items(root / _FILE):
            asked, answer = asked_and_answered(item, "<audio>")
            audio, name = item.filled("audio"), f"{item.where} {item.text('id')}"
            yield _question(name, asked, answer, audio, existing(root / audio))
        return
    rows = [
        (item.where, item.filled("file_name"), item.text("QuestionText"), item.text("answer"))
        for item in csv_items(root / _PUBLISHED, _COLUMNS)
    ]
    said: dict[tuple[str, str], list[str]] = {}
    for _, audio, asked, answer in rows:
        said.setdefault((audio, asked), []).append(plain_words(answer))
    for where, audio, asked, answer in rows:
        path = existing(root / _SOUNDS / audio)
        question = _question(f"{where} {audio}", asked.strip(), answer.strip(), audio, path)
        people = _agreement(said[audio, asked])
        yield replace(question, groups={**question.groups, "people": people})


def _question(name: str, asked: str, answer: str, audio: str, path: Path | None) -> Question:
    return Question(
        id=name,
        prompts=(f"Question: {asked}\nAnswer the question using a single word.",),
        media=(MediaFile("audio", audio, path),),
        references=(answer,),
        cluster=audio,
        groups={"answer": "yes or no" if answer.lower() in _YES_NO else "other"},
    )


def _agreement(answers: Sequence[str]) -> str:
    """How many of those who answered a question said the same."""
    most = max(answers.count(answer) for answer in answers)
    if most == len(answers):
        return "all agree"
    return "most agree" if most * 2 > len(answers) else "no majority"


def _score(question: Question, answers: Sequence[str]) -> Marks:
    """Exact match; besides, where yes or no is right, released: equal but for case alone."""
    marks, right = exact_match(question, answers), question.references[0]
    if right.lower() not in _YES_NO:
        return marks
    binary = "binary accuracy"
    loose = float(answers[0].lower() == right.lower())
    strict = marks.strict.scores["accuracy"]
    return Marks(
        replace(marks.released, scores={**marks.released.scores, binary: loose}),
        replace(marks.strict, scores={**marks.strict.scores, binary: strict}),
    )


CLOTHO_AQA = Task(
    name="clotho_aqa",
    title="Clotho-AQA",
    folder="",
    size=8514,
    modality="audio",
    metrics=(
        Metric("accuracy", "equal answers"),
        Metric("binary accuracy", "equal answers where yes or no is right"),
    ),
    source="https://zenodo.org/records/6473207",
    licence="MIT (answers); sounds under their Freesound licences",
    files=(
        NeededFile(
            _FILE,
            "the authors' list of id, audio (a path beside this file) and conversations (question, "
            f"answer), never published; without it {_PUBLISHED} is read",
            optional=True,
        ),
        NeededFile(_PUBLISHED, "the publisher's test set", instead=_FILE),
        NeededFile(f"{_SOUNDS}/", "the sounds, unpacked from audio_files.zip", instead=_FILE),
    ),
    read=_read,
    score=_score,
    note=(
        "Of the published file each of the three answers to a question counts as a question: no "
        "model can be right on all of them where people disagree (see the lines of people). The "
        "authors' list was never published, and another choice of answers moves the figure."
    ),
)
