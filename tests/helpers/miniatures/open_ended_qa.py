"""Questions and answers in two files of the same order; videos with and without v_ before."""

import json
from dataclasses import replace

from stubs import reference

from miniatures import Miniature

QUESTIONS = [
    {"video_name": "one", "question": "who is dancing?", "question_id": 39},
    {"video_name": "two", "question": "what is «ünder» the tree?", "question_id": "two_3"},
    {"video_name": "gone", "question": "is it raining?", "question_id": 41},
]
ANSWERS = [
    {"answer": "woman", "type": 3, "question_id": 39},
    {"answer": "a döner", "type": 3, "question_id": "two_3"},
    {"answer": "no", "type": 3, "question_id": 41},
]

ACTIVITYNET = Miniature(
    "activitynet_qa",
    {"test_q.json": json.dumps(QUESTIONS), "test_a.json": json.dumps(ANSWERS)},
    {"all_test/v_one.mp4": "clip", "all_test/two.mkv": "other"},
    questions=3,
    right=("woman", "a döner", "no"),
    missing=("41",),
    oracle=reference,
    required=(("test_q.json", "question"), ("test_a.json", "answer")),
)
MSVD = replace(
    ACTIVITYNET,
    task="msvd_qa",
    media={"videos/one.avi": "clip", "videos/two.mp4": "other"},
)
