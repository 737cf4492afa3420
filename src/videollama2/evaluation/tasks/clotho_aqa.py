"""Clotho-AQA: one-word answers about everyday sounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.evaluation.reading import existing, json_items
from videollama2.evaluation.task import (
    Mark,
    Marks,
    MediaFile,
    Metric,
    NeededFile,
    Question,
    Task,
)

_FILE = "clothoAQA_eval.json"
_YES_NO = ("yes", "no")


def _read(root: Path, split: str) -> Iterator[Question]:
    for item in json_items(root / _FILE):
        turns = item.items("conversations")
        if len(turns) < 2:
            raise item.wrong("conversations", "holds no question with an answer")
        audio = item.text("audio")
        question = turns[0].text("value").replace("<audio>", "").strip()
        answer = turns[1].text("value")
        yield Question(
            id=f"{item.where} {item.text('id')}",
            prompts=(f"Question: {question}\nAnswer the question using a single word.",),
            media=(MediaFile("audio", audio, existing(root / audio)),),
            references=(answer,),
            cluster=audio,
            groups={"answer": "yes or no" if answer.lower() in _YES_NO else "other"},
        )


def _score(question: Question, answers: Sequence[str]) -> Marks:
    """Released: equal but for case, full stops and spaces at the end; yes and no but for case."""
    said, right = answers[0], question.references[0]
    loose = said.rstrip(" .")
    plain = "".join(mark for mark in said.casefold() if mark.isalnum() or mark == " ").strip()
    plain_right = right.casefold().strip()
    released = {"accuracy": float(loose.upper() == right.upper())}
    strict = {"accuracy": float(plain == plain_right)}
    if right.lower() in _YES_NO:
        released["binary accuracy"] = float(said.lower() == right.lower())
        strict["binary accuracy"] = strict["accuracy"]
    return Marks(Mark(loose, released), Mark(plain or None, strict))


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
