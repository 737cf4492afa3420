"""MSVC: captions of clips from MSVD, MSR-VTT and VATEX, judged for correctness and detail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from videollama2.evaluation.judge_prompts import CAPTION_CORRECTNESS, CAPTION_DETAIL
from videollama2.evaluation.reading import existing, json_items
from videollama2.evaluation.task import Judgement, MediaFile, Metric, NeededFile, Question, Task


def _read(root: Path, split: str) -> Iterator[Question]:
    for item in json_items(root / "msvc.json"):
        video, question = item.filled("video_path"), item.text("question")
        yield Question(
            id=f"{item.where} {video}",
            prompts=(question,),
            media=(MediaFile("video", video, existing(root / video)),),
            references=item.texts("captions"),
            cluster=video,
            details={"question": question},
        )


MSVC = Task(
    name="msvc",
    title="MSVC",
    folder="msvc",
    size=1500,
    modality="video",
    metrics=(
        Metric("correctness", "facts right, by the judge, against all captions", "score"),
        Metric("detail", "how detailed, by the judge", "score"),
    ),
    source="https://huggingface.co/datasets/DAMO-NLP-SG/Multi-Source-Video-Captioning",
    licence="not stated; the clips under their own sets' terms",
    files=(
        NeededFile("msvc.json", "a list of video_path, question and captions"),
        NeededFile(
            "videos/",
            "the clips of MSVD, MSR-VTT and VATEX, from these sets, wherever video_path says",
            optional=True,
        ),
    ),
    read=_read,
    judgements=(
        Judgement("correctness", CAPTION_CORRECTNESS.ask_of_all, "correctness"),
        Judgement("detail", CAPTION_DETAIL.ask_of_all, "detail"),
    ),
    temperature=0.2,
    note=(
        "The paper writes captions at temperature 0.2; the released script is greedy. Published "
        "figures were judged by GPT-3.5-turbo-0613: another judge, other figures."
    ),
)
