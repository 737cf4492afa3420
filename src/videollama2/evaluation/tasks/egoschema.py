"""EgoSchema: what three minutes of egocentric video are about, one of five answers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from videollama2.evaluation import letters
from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.letters import LETTERS, ONLY_THE_LETTER, lettered, multiple_choice
from videollama2.evaluation.reading import Item, find_media, json_items, read_json
from videollama2.evaluation.task import (
    Marks,
    MediaFile,
    Metric,
    NeededFile,
    Question,
    Submission,
    Task,
)

_PUBLIC = "subset_answers.json"


def _read(root: Path, split: str) -> Iterator[Question]:
    known = _public_answers(root / _PUBLIC, split == "subset")
    seen: set[str] = set()
    for item in json_items(root / "questions.json"):
        uid = item.once("q_uid", item.filled("q_uid"), seen)
        options = tuple(item.text(f"option {n}") for n in range(5))
        prompt = (
            "Select the best answer to the following multiple-choice question based on the video.\n"
            f"{item.text('question')}\nOptions:\n{lettered(options)}"
            f"{ONLY_THE_LETTER} The best answer is: "
        )
        question = Question(
            id=uid,
            prompts=(prompt,),
            media=(MediaFile("video", uid, find_media(root / "good_clips_git", uid)),),
            references=(known[uid],) if uid in known else (),
            options=options,
            cluster=uid,
        )
        if split == "full" or question.references:
            yield question


def _public_answers(file: Path, needed: bool) -> dict[str, str]:
    if not needed and not file.is_file():
        return {}
    answers: Any = read_json(file)
    if not isinstance(answers, dict):
        raise AnnotationError(file, "it holds no object")
    item = Item(file, "", cast(dict[str, Any], answers))
    found: dict[str, str] = {}
    for uid in item.values:
        place = item.number(uid)
        if place not in range(5):
            raise item.wrong(uid, f"is {place:g}, no number from 0 to 4")
        found[uid] = LETTERS[int(place)]
    return found


def _submission(rows: Iterable[tuple[Question, Sequence[str], Marks]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["q_uid", "answer"])
    for question, _, marks in rows:
        writer.writerow([question.id, LETTERS.index(marks.released.parse or "C")])
    return text.getvalue()


EGOSCHEMA = Task(
    name="egoschema",
    title="EgoSchema",
    folder="egoschema",
    size=5031,
    modality="video",
    metrics=(Metric("accuracy", "right letters"),),
    source="https://github.com/egoschema/EgoSchema",
    licence="Ego4D licence (videos)",
    files=(
        NeededFile("questions.json", "questions, from the EgoSchema repository"),
        NeededFile("good_clips_git/", "videos named q_uid.mp4, from EgoSchema's download script"),
        NeededFile(_PUBLIC, "the 500 public answers", splits=("subset",)),
    ),
    read=_read,
    score=multiple_choice(letters.EGOSCHEMA),
    splits=("full", "subset"),
    submission=Submission(
        "submission.csv", "the EgoSchema competition on Kaggle scores it", _submission
    ),
    note="Only the 500 answers of the subset are public; the full set is scored on Kaggle.",
)
