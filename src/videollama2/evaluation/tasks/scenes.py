"""The made world's held-out scenes: what the starter knows, by question type and stream.

Each question in the usual wordings is asked of the clip with its sound, of the picture alone and of
the sound alone; those in wordings held out of training of the clip with its sound. `accuracy` is
the mean over the types of closed questions; lists and descriptions have a figure of their own, as
have questions about things that are not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.evaluation.exact import plain_words
from videollama2.evaluation.reading import Item, existing, json_items
from videollama2.evaluation.task import (
    Mark,
    Marks,
    MediaFile,
    Metric,
    NeededFile,
    Question,
    Task,
)
from videollama2.scenes.questions import KINDS, OPEN_KINDS, UNANSWERABLE_KINDS

_FILE = "questions.json"
_BOTH, _PICTURE, _SOUND, _UNSEEN, _OPEN, _UNANSWERABLE = (
    "accuracy",
    "picture only",
    "sound only",
    "unseen wording",
    "open",
    "unanswerable",
)


def _read(root: Path, split: str) -> Iterator[Question]:
    for item in json_items(root / _FILE):
        kind = item.text("kind")
        if kind not in KINDS:
            raise item.wrong("kind", f"is no question type: {kind!r}")
        wording = item.text("split")
        if wording not in ("train", "unseen"):
            raise item.wrong("split", "is neither train nor unseen")
        for metric in _asked_for(wording, kind):
            yield _question(root, item, kind, metric)


def _asked_for(wording: str, kind: str) -> tuple[str, ...]:
    """The metrics that a question counts in, each asked by itself."""
    if kind in OPEN_KINDS:
        return (_OPEN,) if wording == "train" else ()
    if kind in UNANSWERABLE_KINDS:
        return (_UNANSWERABLE,)
    return (_BOTH, _PICTURE, _SOUND) if wording == "train" else (_UNSEEN,)


def _question(root: Path, item: Item, kind: str, metric: str) -> Question:
    clip, answer = item.filled("clip"), item.text("answer")
    if not plain_words(answer):
        raise item.wrong("answer", "is empty")
    path = existing(root / clip)
    seen = MediaFile("video", clip, path, sound=False if metric == _PICTURE else None)
    return Question(
        id=f"{item.where} {metric}",
        prompts=(item.text("question"),),
        media=(MediaFile("audio", clip, path) if metric == _SOUND else seen,),
        references=(answer,),
        cluster=clip,
        groups={"type": kind},
        details={"metric": metric},
    )


def _score(question: Question, answers: Sequence[str]) -> Marks:
    """Equal but for case and outer blanks, and a last full stop; strict: but for punctuation."""
    said, right, metric = answers[0], question.references[0], question.details["metric"]
    plain = said.strip().rstrip(".")
    words = plain_words(said)
    return Marks(
        Mark(plain, {metric: float(plain.lower() == right.strip().lower())}),
        Mark(words or None, {metric: float(words == plain_words(right))}),
    )


SCENES = Task(
    name="scenes",
    title="Scenes",
    folder="scenes",
    size=1692,  # of the bundled clips, each asked of the streams it counts in
    modality="audio-visual",
    metrics=(
        Metric(_BOTH, "equal answers to closed questions, mean over their types", by="type"),
        Metric(_PICTURE, "the same without the sound", by="type"),
        Metric(_SOUND, "the same without the picture", by="type"),
        Metric(_UNSEEN, "in wordings that were held out of training", by="type"),
        Metric(_OPEN, "equal lists and descriptions", by="type"),
        Metric(_UNANSWERABLE, "that a thing asked about is not there is said", by="type"),
    ),
    source="this project: tests/starter/clips, or `videollama2 data scenes`",
    licence="Apache-2.0; pictures and notes MIT (NOTICE)",
    files=(
        NeededFile(_FILE, "a list of clip, split, kind, question and answer"),
        NeededFile("./", "the clips, wherever the list says"),
    ),
    read=_read,
    score=_score,
    max_new_tokens=48,
    note="A made world: it tells starters apart, and says nothing of real clips.",
)
