"""MLVU: seven kinds of questions about videos of three minutes to two hours (nine in the test set).

Source of files, prompt, parser and metric: github.com/JUNJIE99/MLVU,
`multiple_choice_evaluation/choice_bench.py` and `evaluation_test/test_bench.py`. There the model's
answer is made to begin with "Best option:(": here that stands at the prompt's end. The two tasks of
free writing are not here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.evaluation.letters import LETTERS, choices, letter_marks, lettered, strict_letter
from videollama2.evaluation.reading import Item, existing, json_items
from videollama2.evaluation.task import Mark, Marks, MediaFile, Metric, NeededFile, Question, Task

PARTS = (
    "1_plotQA",
    "2_needle",
    "3_ego",
    "4_count",
    "5_order",
    "6_anomaly_reco",
    "7_topic_reasoning",
)
_TEST, _TEST_VIDEOS = "test-ground-truth/test_mcq_gt.json", "MLVU_Test/video"
_LOOK = (
    "Carefully watch this video and pay attention to every detail. Based on your observations, "
    "select the best option that accurately addresses the question."
)


def _read(root: Path, split: str) -> Iterator[Question]:
    if split == "test":
        seen: set[str] = set()
        for item in json_items(root / _TEST):
            name = item.once("question_id", item.text("question_id"), seen)
            yield _question(item, name, root / _TEST_VIDEOS)
        return
    for part in PARTS:
        for item in json_items(root / f"json/{part}.json"):
            yield _question(item, f"{part} {item.where}", root / "video" / part)


def _question(item: Item, name: str, videos: Path) -> Question:
    options, answer = choices(item, "candidates"), item.text("answer")
    if answer not in options:
        raise item.wrong("answer", "is none of its candidates")
    # The released loop keeps the last of equal candidates.
    right = max(place for place, option in enumerate(options) if option == answer)
    video = item.filled("video")
    asked = f"Question: {item.text('question')}\nOptions:\n{lettered(options)}".rstrip()
    return Question(
        id=name,
        prompts=(f"{_LOOK}\n{asked}\nOnly give the best option.\nBest option:(",),
        media=(MediaFile("video", video, existing(videos / video)),),
        references=(LETTERS[right],),
        options=options,
        cluster=video,
        groups={"task": item.text("question_type")},
    )


def _score(question: Question, answers: Sequence[str]) -> Marks:
    """Released: what stands before the first closing bracket is the letter, or wrong.

    An opening bracket is taken off: there it stands in the answer's given beginning.
    """
    said = answers[0].split(")")[0].strip().removeprefix("(")
    known = said in LETTERS[: len(question.options)] and len(said) == 1
    return letter_marks(
        question, Mark(said if known else None), strict_letter(answers[0], question.options)
    )


MLVU = Task(
    name="mlvu",
    title="MLVU",
    folder="mlvu",
    size=2174,
    modality="video",
    metrics=(Metric("accuracy", "right letters, mean over the tasks (M-Avg)", by="task"),),
    source="https://huggingface.co/datasets/MLVU/MVLU",
    licence="CC BY-NC-SA 4.0",
    files=(
        *(NeededFile(f"json/{part}.json", "questions", splits=("dev",)) for part in PARTS),
        *(NeededFile(f"video/{part}/", "their videos", splits=("dev",)) for part in PARTS),
        NeededFile(_TEST, "questions and answers, from MLVU/MLVU_Test", splits=("test",)),
        NeededFile(f"{_TEST_VIDEOS}/", "their videos, from there", splits=("test",)),
    ),
    read=_read,
    score=_score,
    splits=("dev", "test"),
    note=(
        "The VideoLLaMA 2 repository has no script for it: prompt and parser are MLVU's own. The "
        "paper's 32.7 and 45.6 do not say their split; MLVU's authors have 48.5 for 16 frames on "
        "dev, so they are most likely of the test set (502 questions)."
    ),
)
