"""Perception Test's dictionary of videos, questions by video; answers in the validation split."""

import json

from miniatures import Miniature


def question(
    number: int, options: list[str], answer: int, area: str = "physics"
) -> dict[str, object]:
    return {
        "id": number,
        "question": "Was bewegt sich «zürst»?" if number else "What does the person do?",
        "options": options,
        "answer_id": answer,
        "area": area,
        "reasoning": "descriptive",
        "tag": ["motion"],
    }


def video(name: str, questions: list[dict[str, object]]) -> dict[str, object]:
    return {"metadata": {"split": "valid", "video_id": name}, "mc_question": questions}


OPTIONS = ["a ball", "the bälle roll", "nothing"]
VIDEOS = {
    "video_1": video("video_1", [question(0, OPTIONS, 1), question(2, OPTIONS[::-1], 0, "memory")]),
    "video_7": video("video_7", [question(0, OPTIONS, 2)]),
    "video_9": video("video_9", [question(1, OPTIONS, 0)]),
}


def unanswered() -> dict[str, object]:
    text = json.dumps(VIDEOS)
    videos = json.loads(text)
    for one in videos.values():
        for asked in one["mc_question"]:
            del asked["answer_id"]
    return videos


MINIATURE = Miniature(
    "perception_test",
    {
        "mc_question_valid.json": json.dumps(VIDEOS),
        "mc_question_test.json": json.dumps(unanswered()),
    },
    {"videos/video_1.mp4": "clip", "videos/video_7.mkv": "silent"},
    questions=4,
    right=tuple("BACA"),
    missing=("video_9 1",),
    required=(
        ("mc_question_valid.json", "video_id"),
        ("mc_question_valid.json", "answer_id"),
        ("mc_question_valid.json", "options"),
    ),
    split="valid",
    optional=("mc_question_test.json",),
)
