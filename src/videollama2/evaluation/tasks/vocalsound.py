"""VocalSound: laughter, sighs, coughs, throat clearing, sneezes and sniffs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from videollama2.evaluation.labels import label_marks, label_prompt, label_questions
from videollama2.evaluation.reading import existing
from videollama2.evaluation.task import Metric, NeededFile, Question, Task

_FILE, _SOUNDS = "vocalsound_eval.jsonl", "audio_16k"
LABELS = ("Laughter", "Sigh", "Cough", "Throat clearing", "Sneeze", "Sniff")
PROMPT = label_prompt("Identify the human sound in the audio.", LABELS)


def _read(root: Path, split: str) -> Iterator[Question]:
    """Of a sound's path only the file's name counts, as in the released script."""

    def find(audio: str) -> Path | None:
        return existing(root / _SOUNDS / audio.split("/")[-1])

    return label_questions(root / _FILE, PROMPT, LABELS, find)


VOCALSOUND = Task(
    name="vocalsound",
    title="VocalSound",
    folder="vocal",
    size=3594,
    modality="audio",
    metrics=(Metric("accuracy", "right labels"),),
    source="https://github.com/YuanGongND/vocalsound",
    licence="CC BY-SA 4.0",
    files=(
        NeededFile(
            _FILE,
            "one line a sound of the test set: audio and gt (its label); Qwen-Audio's repository "
            "publishes one of this name and form (its EVALUATION.md)",
        ),
        NeededFile(f"{_SOUNDS}/", "the sounds at 16 kHz, from VocalSound's own archive"),
    ),
    read=_read,
    score=label_marks,
)
