"""MVBench: twenty kinds of questions about short clips, 200 of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from videollama2.evaluation import letters
from videollama2.evaluation.letters import (
    LETTERS,
    ONLY_THE_LETTER,
    choices,
    lettered,
    multiple_choice,
)
from videollama2.evaluation.reading import Item, existing, json_items
from videollama2.evaluation.task import MediaFile, Metric, NeededFile, Question, Task


@dataclass(frozen=True)
class _Part:
    """One of the twenty: its name, where its clips lie, and whether items hold a time range."""

    name: str
    folder: str
    ranged: bool = False

    @property
    def file(self) -> str:
        return f"json/{self.name.lower().replace(' ', '_').replace('-', '_')}.json"


_CHARADES, _CLEVRER = "star/Charades_v1_480", "clevrer/video_validation"
_PERCEPTION = "perception/videos"
PARTS = (
    _Part("Action Sequence", _CHARADES, ranged=True),
    _Part("Action Prediction", _CHARADES, ranged=True),
    _Part("Action Antonym", "ssv2_video"),
    _Part("Fine-grained Action", "Moments_in_Time_Raw/videos"),
    _Part("Unexpected Action", "FunQA_test/test"),
    _Part("Object Existence", _CLEVRER),
    _Part("Object Interaction", _CHARADES, ranged=True),
    _Part("Object Shuffle", _PERCEPTION),
    _Part("Moving Direction", _CLEVRER),
    _Part("Action Localization", "sta/sta_video", ranged=True),
    _Part("Scene Transition", "scene_qa/video"),
    _Part("Action Count", _PERCEPTION),
    _Part("Moving Count", _CLEVRER),
    _Part("Moving Attribute", _CLEVRER),
    _Part("State Change", _PERCEPTION),
    _Part("Fine-grained Pose", "nturgbd"),
    _Part("Character Order", _PERCEPTION),
    _Part("Egocentric Navigation", "vlnqa"),
    _Part("Episodic Reasoning", "tvqa/frames_fps3_hq", ranged=True),  # folders of frames
    _Part("Counterfactual Inference", _CLEVRER),
)


def _read(root: Path, split: str) -> Iterator[Question]:
    for part in PARTS:
        for item in json_items(root / part.file):
            yield _question(root, part, item)


def _question(root: Path, part: _Part, item: Item) -> Question:
    options, answer = choices(item, "candidates"), item.text("answer")
    if answer not in options:
        raise item.wrong("answer", "is none of its candidates")
    right = max(place for place, option in enumerate(options) if option == answer)
    video = f"{part.folder}/{item.filled('video')}"
    start, end = _range(item) if part.ranged else (None, None)
    return Question(
        id=f"{part.name} {item.where}",
        prompts=(
            f"Question: {item.text('question')}\nOptions:\n{lettered(options)}{ONLY_THE_LETTER}",
        ),
        media=(MediaFile("video", video, existing(root / "video" / video), start, end),),
        references=(LETTERS[right],),
        options=options,
        cluster=video,
        groups={"task": part.name},
    )


def _range(item: Item) -> tuple[float, float]:
    """Seconds, by the released rule: nothing below zero, the earlier first."""
    one, other = max(item.number("start"), 0.0), max(item.number("end"), 0.0)
    return min(one, other), max(one, other)


MVBENCH = Task(
    name="mvbench",
    title="MVBench",
    folder="mvbench",
    size=4000,
    modality="video",
    metrics=(Metric("accuracy", "right letters over all questions"),),
    source="https://huggingface.co/datasets/OpenGVLab/MVBench",
    licence="MIT (annotations); the clips under their own sets' terms",
    files=(
        *(NeededFile(part.file, f"{part.name}, from the json folder there") for part in PARTS),
        *(
            NeededFile(f"video/{folder}/", "clips, unpacked from the video folder there")
            for folder in dict.fromkeys(part.folder for part in PARTS)
        ),
    ),
    read=_read,
    score=multiple_choice(letters.MVBENCH),
)
