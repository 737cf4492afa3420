"""Video-ChatGPT's benchmark: free answers about videos, five aspects of them judged from 0 to 5."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from videollama2.evaluation import judge_prompts
from videollama2.evaluation.judge_prompts import ask_consistency
from videollama2.evaluation.reading import MORE_VIDEO_FORMATS, Item, find_media, json_items
from videollama2.evaluation.task import Judgement, MediaFile, Metric, NeededFile, Question, Task

_GENERIC, _TEMPORAL, _CONSISTENCY = (
    ("file", name) for name in ("generic", "temporal", "consistency")
)
_PROMPTS = {
    "generic": ("Q",),
    "temporal": ("Q",),
    "consistency": ("Q1", "Q2"),
}


def _read(root: Path, split: str) -> Iterator[Question]:
    for file, fields in _PROMPTS.items():
        for item in json_items(root / f"{file}_qa.json"):
            yield _question(root, file, fields, item)


def _question(root: Path, file: str, fields: tuple[str, ...], item: Item) -> Question:
    video = item.filled("video_name")
    prompts = tuple(item.text(field) for field in fields)
    path = find_media(root / "Test_Videos", video, MORE_VIDEO_FORMATS)
    return Question(
        id=f"{file} {item.where}",
        prompts=prompts,
        media=(MediaFile("video", video, path),),
        references=(item.text("A"),),
        cluster=video,
        groups={"file": file},
        details={"question": prompts[0]},
    )


VIDEO_CHATGPT = Task(
    name="video_chatgpt",
    title="Video-ChatGPT",
    folder="videochatgpt_gen",
    size=3493,
    modality="video",
    metrics=(
        Metric("correctness", "facts right", "score"),
        Metric("detail", "how detailed", "score"),
        Metric("context", "fits the whole video", "score"),
        Metric("temporal", "order of events right", "score"),
        Metric("consistency", "the same said to the same question asked otherwise", "score"),
    ),
    source="https://github.com/mbzuai-oryx/Video-ChatGPT",
    licence="not stated for the questions; the videos are ActivityNet's uploaders'",
    files=(
        *(
            NeededFile(
                f"{file}_qa.json",
                f"{file} questions, in the authors' form (Q or Q1 and Q2, A, video_name)",
            )
            for file in _PROMPTS
        ),
        NeededFile("Test_Videos/", "the 500 videos, named by video_name"),
    ),
    read=_read,
    judgements=(
        Judgement("correctness", judge_prompts.CORRECTNESS.ask, "correctness", group=_GENERIC),
        Judgement("detail", judge_prompts.DETAIL.ask, "detail", group=_GENERIC),
        Judgement("context", judge_prompts.CONTEXT.ask, "context", group=_GENERIC),
        Judgement("temporal", judge_prompts.TEMPORAL.ask, "temporal", group=_TEMPORAL),
        Judgement("consistency", ask_consistency, "consistency", group=_CONSISTENCY),
    ),
    note="Published figures were judged by GPT-3.5-turbo-0613: another judge, other figures.",
)
