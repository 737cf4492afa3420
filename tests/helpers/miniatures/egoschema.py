"""EgoSchema's questions.json and the public answers of its subset."""

import json

from miniatures import Miniature

OPTIONS = ["C cooks", "C cleans the pan", "C paints", "C reads «ünïcode»", "C sleeps"]


def item(uid: str, question: str) -> dict[str, str]:
    return {
        "q_uid": uid,
        "google_drive_id": "0",
        "question": question,
        **{f"option {n}": option for n, option in enumerate(OPTIONS)},
    }


MINIATURE = Miniature(
    "egoschema",
    {
        "questions.json": json.dumps(
            [
                item("aa-1", "What does C do?"),
                item("bb-2", "Why does C do it?"),
                item("cc-3", "What is it for?"),
                item("dd-4", "What comes of it?"),
            ]
        ),
        "subset_answers.json": json.dumps({"aa-1": 0, "bb-2": 1, "cc-3": 4}),
    },
    {
        "good_clips_git/aa-1.mp4": "clip",
        "good_clips_git/bb-2.mkv": "other",
        "good_clips_git/dd-4.mp4": "silent",
    },
    questions=3,
    right=tuple("ABE"),
    missing=("cc-3",),
    required=(("questions.json", "q_uid"), ("questions.json", "option 3")),
    split="subset",
)
