"""Video-MME: questions about short, medium and long videos, without and with subtitles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from videollama2.evaluation import letters
from videollama2.evaluation.letters import ONLY_THE_LETTER, multiple_choice
from videollama2.evaluation.reading import Item, find_media, parquet_items
from videollama2.evaluation.task import MediaFile, Metric, NeededFile, Question, Task

_FILE = "test-00000-of-00001.parquet"
_KINDS = ("duration", "domain", "sub_category", "task_type")
_COLUMNS = ("url", *_KINDS, "question_id", "question", "options", "answer")


def _read(root: Path, split: str) -> Iterator[Question]:
    seen: set[str] = set()
    for item in parquet_items(root / _FILE, _COLUMNS):
        yield _question(root, item, seen)


def _read_with_subtitles(root: Path, split: str) -> Iterator[Question]:
    for question in _read(root, split):
        yield replace(question, subtitles=root / "subtitles" / f"{question.cluster}.srt")


def _question(root: Path, item: Item, seen: set[str]) -> Question:
    lines = item.texts("options")
    options = tuple(_text(item, line) for line in lines)
    if len(options) != 4:
        raise item.wrong("options", f"holds {len(options)} options, not four")
    answer = item.text("answer")
    if answer not in tuple("ABCD"):
        raise item.wrong("answer", "is no letter from A to D")
    video = item.text("url").split("watch?v=")[-1]
    listed = "".join(f"{line}\n" for line in lines)
    prompt = (
        "Select the best answer to the following multiple-choice question based on the video. "
        "Respond with only the letter (A, B, C, or D) of the correct option.\n"
        f"{item.text('question')}\n{listed}{ONLY_THE_LETTER} The best answer is: "
    )
    return Question(
        id=item.once("question_id", item.text("question_id"), seen),
        prompts=(prompt,),
        media=(MediaFile("video", video, find_media(root / "videos", video)),),
        references=(answer,),
        options=options,
        cluster=video,
        groups={kind: item.text(kind) for kind in _KINDS},
    )


def _text(item: Item, line: str) -> str:
    """An option without its letter; the released pattern needs at least one character."""
    found = re.search(r"[A-D]\. (.+)", line)
    if found is None:
        raise item.wrong("options", f"holds {line!r}, which begins with no letter and full stop")
    return found[1]


VIDEO_MME = Task(
    name="videomme",
    title="Video-MME",
    folder="videomme",
    size=2700,
    modality="video",
    metrics=(Metric("accuracy", "right letters"),),
    source="https://huggingface.co/datasets/lmms-lab/Video-MME",
    licence="research only, by Video-MME's own terms",
    files=(
        NeededFile(_FILE, "questions, from the videomme folder there"),
        NeededFile("videos/", "videos named by their YouTube id, unpacked from the archives there"),
    ),
    read=_read,
    score=multiple_choice(letters.VIDEO_MME),
    note="The released scoring leaves questions without a video out, as its script does.",
)
WITH_SUBTITLES = replace(
    VIDEO_MME,
    name="videomme_subtitles",
    title="Video-MME with subtitles",
    files=(
        *VIDEO_MME.files,
        NeededFile("subtitles/", "subtitles named ID.srt, unpacked from subtitle.zip there"),
    ),
    read=_read_with_subtitles,
    note="Videos without a subtitle file are asked with an empty list of them, as released.",
)
