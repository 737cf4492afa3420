"""VGGSound (AVSSD): what happens in ten seconds of video whose sound is seen to be made.

The authors' list was never published; where it is not there, the publisher's own file is read:
robots.ox.ac.uk/~vgg/data/vggsound, `vggsound.csv`, no header: YouTube id, start second, label,
"train" or "test". Clips are `<id>_<start in six digits>.mp4`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from videollama2.evaluation.conversations import asked_and_answered, named_medium
from videollama2.evaluation.judge_prompts import ask_binary_match
from videollama2.evaluation.reading import csv_items, find_media, json_items
from videollama2.evaluation.task import Judgement, MediaFile, Metric, NeededFile, Question, Task

_FILE, _PUBLISHED, _VIDEOS = "avssd_test.json", "vggsound.csv", "VGGSound_final/video"
_PROMPT = "Identify the event in the video."
_COLUMNS = ("YouTube ID", "start seconds", "label", "train/test split")


def _read(root: Path, split: str) -> Iterator[Question]:
    if (root / _FILE).is_file():
        for item in json_items(root / _FILE):
            video = item.filled("video")
            path = named_medium(root, video, _VIDEOS)
            label = asked_and_answered(item, "<video>")[1]
            yield _question(f"{item.where} {video.split('/')[-1]}", label, video, path)
        return
    seen: set[str] = set()
    for item in csv_items(root / _PUBLISHED, _COLUMNS, header=False):
        start, kind = item.number(_COLUMNS[1]), item.text(_COLUMNS[3])
        if kind not in ("train", "test"):
            raise item.wrong(_COLUMNS[3], "is neither train nor test")
        if kind == "test":
            name = f"{item.filled(_COLUMNS[0])}_{int(start):06d}"
            item.once(_COLUMNS[0], name, seen)
            path = find_media(root / _VIDEOS, name)
            yield _question(name, item.text(_COLUMNS[2]), name, path)


def _question(name: str, label: str, video: str, path: Path | None) -> Question:
    return Question(
        id=name,
        prompts=(_PROMPT,),
        media=(MediaFile("video", video, path, sound=None),),
        references=(label,),
        cluster=video,
        details={"question": _PROMPT},
    )


VGGSOUND = Task(
    name="vggsound",
    title="VGGSound",
    folder=".",
    size=15341,
    modality="audio-visual",
    metrics=(
        Metric("accuracy", "answers that the judge takes for right"),
        Metric("score", "how well they match, by the judge", "score"),
    ),
    source="https://www.robots.ox.ac.uk/~vgg/data/vggsound/",
    licence="CC BY 4.0; the videos are YouTube's uploaders'",
    files=(
        NeededFile(
            _FILE,
            "the authors' list of video and conversations (question, label), never published; "
            f"without it the test rows of {_PUBLISHED} are read",
            optional=True,
        ),
        NeededFile(_PUBLISHED, "the publisher's list", instead=_FILE),
        NeededFile(
            f"{_VIDEOS}/", "clips named <YouTube id>_<start in six digits>.mp4", instead=_FILE
        ),
    ),
    read=_read,
    judgements=(
        Judgement("match", ask_binary_match, "score", yes_metric="accuracy", yes_key="binary_pred"),
    ),
    note=(
        "The released scripts call it AVSSD. Published figures were judged by GPT-3.5-turbo-0613: "
        "another judge, other figures."
    ),
)
