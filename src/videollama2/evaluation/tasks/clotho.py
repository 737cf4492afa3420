"""Clotho: descriptions of everyday sounds, judged against five people's.

Source: the released `eval/inference_audio.py` at its commit f8b9f98 (the prompt, and the list that
is read) and `eval/eval_audio_clotho.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from videollama2.evaluation.judge_prompts import SOUND_CORRECTNESS, SOUND_DETAIL
from videollama2.evaluation.reading import csv_items, existing
from videollama2.evaluation.task import Judgement, MediaFile, Metric, NeededFile, Question, Task

_FILE, _SOUNDS = "clotho_captions_evaluation.csv", "evaluation"
_CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
_PROMPT = "Describe the audio."
_ASPECTS = {"correctness": SOUND_CORRECTNESS, "detail": SOUND_DETAIL}


def _read(root: Path, split: str) -> Iterator[Question]:
    seen: set[str] = set()
    for item in csv_items(root / _FILE, ("file_name", *_CAPTIONS)):
        audio = item.once("file_name", item.filled("file_name"), seen)
        yield Question(
            id=audio,
            prompts=(_PROMPT,),
            media=(MediaFile("audio", audio, existing(root / _SOUNDS / audio)),),
            references=tuple(item.text(caption) for caption in _CAPTIONS),
            cluster=audio,
            details={"question": _PROMPT},
        )


CLOTHO = Task(
    name="clotho",
    title="Clotho",
    folder="Clotho",
    size=1045,
    modality="audio",
    metrics=(
        Metric("correctness", "facts right, by the judge, mean over five captions", "score"),
        Metric("detail", "how detailed, by the judge, mean over five captions", "score"),
    ),
    source="https://zenodo.org/records/4783391",
    licence="captions: Tampere University's, non-commercial; sounds: each its Creative Commons one",
    files=(
        NeededFile(_FILE, "five captions a sound"),
        NeededFile(f"{_SOUNDS}/", "sounds, unpacked from clotho_audio_evaluation.7z"),
    ),
    read=_read,
    judgements=tuple(
        Judgement(f"{name} {number + 1}", partial(aspect.ask_of, number), name)
        for name, aspect in _ASPECTS.items()
        for number in range(len(_CAPTIONS))
    ),
    temperature=0.2,
    note=(
        "Ten verdicts a sound. The released script cuts each sound's mean over the captions to a "
        "whole number; here it is kept. CIDEr, SPICE and the like are not computed: the released "
        "scripts do not, and the paper has no figure."
    ),
)
