"""TUT Acoustic Scenes 2017: fifteen kinds of places by their sound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from videollama2.evaluation.labels import label_marks, label_prompt, label_questions
from videollama2.evaluation.reading import existing
from videollama2.evaluation.task import Metric, NeededFile, Question, Task

_FILE = "tut2017_eval.jsonl"
LABELS = (
    "beach",
    "bus",
    "cafe or restaurant",
    "car",
    "city center",
    "forest path",
    "grocery store",
    "home",
    "library",
    "metro station",
    "office",
    "park",
    "residential area",
    "train",
    "tram",
)
PROMPT = label_prompt("Question: Identify the sound event in the audio.", LABELS)


def _read(root: Path, split: str) -> Iterator[Question]:
    return label_questions(root / _FILE, PROMPT, LABELS, lambda audio: existing(root / audio))


TUT2017 = Task(
    name="tut2017",
    title="TUT Acoustic Scenes 2017",
    folder="TUT2017",
    size=1620,
    modality="audio",
    metrics=(Metric("accuracy", "right labels"),),
    source="https://zenodo.org/records/1040168",
    licence="free for non-commercial use (Tampere University of Technology's EULA)",
    files=(
        NeededFile(
            _FILE,
            "one line a sound: audio (a path beside this file) and gt (its label); Qwen-Audio's "
            "repository publishes one of this name and form (its EVALUATION.md)",
        ),
        NeededFile("audio/", "the evaluation set's sounds, wherever audio says", optional=True),
    ),
    read=_read,
    score=label_marks,
)
