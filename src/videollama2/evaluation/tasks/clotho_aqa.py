"""Clotho-AQA: one-word answers about everyday sounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from videollama2.evaluation.conversations import asked_and_answered
from videollama2.evaluation.exact import exact_match
from videollama2.evaluation.reading import existing, json_items
from videollama2.evaluation.task import Marks, MediaFile, Metric, NeededFile, Question, Task

_FILE = "clothoAQA_eval.json"
_YES_NO = ("yes", "no")


def _read(root: Path, split: str) -> Iterator[Question]:
    for item in json_items(root / _FILE):
        question, answer = asked_and_answered(item, "<audio>")
        audio = item.text("audio")
        yield Question(
            id=f"{item.where} {item.text('id')}",
            prompts=(f"Question: {question}\nAnswer the question using a single word.",),
            media=(MediaFile("audio", audio, existing(root / audio)),),
            references=(answer,),
            cluster=audio,
            groups={"answer": "yes or no" if answer.lower() in _YES_NO else "other"},
        )


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
    size=None,
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
            "a list of id, audio (a path beside this file) and conversations (question, answer); "
            "the released list was never published: make it of the published test CSV",
        ),
        NeededFile("audio_files/", "the sounds, wherever the list's paths say", optional=True),
    ),
    read=_read,
    score=_score,
    note="The authors' list was never published; another choice of answers moves the figure.",
)
