"""MLVU's seven files of the development set, and the test set's one."""

import json

from miniatures import Miniature


def item(video: str, options: list[str], answer: str, kind: str, number: str) -> dict[str, object]:
    return {
        "video": video,
        "duration": 480.5,
        "question": "What does «Zoë» do?",
        "candidates": options,
        "answer": answer,
        "question_type": kind,
        "question_id": number,
    }


FOUR = ["cooks", "A man sings", "sleeps in the schäfer's hut", "cooks again"]
FILES = {
    "1_plotQA": [
        item("p1.mp4", FOUR, FOUR[1], "plotQA", "P"),
        item("p2.mp4", FOUR, FOUR[2], "plotQA", "P"),
    ],
    "2_needle": [item("n1.mp4", FOUR, FOUR[0], "findNeedle", "N")],
    "3_ego": [item("e1.mp4", FOUR, FOUR[3], "ego", "E")],
    "4_count": [item("c1.mp4", ["1", "2", "3", "4"], "3", "count", "C")],
    "5_order": [item("o1.mp4", ["1-->2", "2-->1"], "2-->1", "order", "O")],
    "6_anomaly_reco": [item("gone.mp4", ["Fire", "Normal"], "Fire", "anomaly_reco", "A")],
    "7_topic_reasoning": [item("t1.mp4", FOUR, FOUR[0], "topic_reasoning", "T")],
}
TEST = [
    item("test_1.mp4", [*FOUR, "swims", "flies"], "flies", "sportsQA", "SQA_0"),
    item("test_2.mp4", [*FOUR, "swims", "flies"], "swims", "order", "OR_1"),
]
MINIATURE = Miniature(
    "mlvu",
    {
        **{f"json/{part}.json": json.dumps(items) for part, items in FILES.items()},
        "test-ground-truth/test_mcq_gt.json": json.dumps(TEST),
    },
    {
        **{
            f"video/{part}/{one['video']}": "clip"
            for part, items in FILES.items()
            for one in items
            if one["video"] != "gone.mp4"
        },
        "MLVU_Test/video/test_1.mp4": "other",
        "MLVU_Test/video/test_2.mp4": "other",
    },
    questions=8,
    right=tuple("BCADCBAA"),
    missing=("6_anomaly_reco 0",),
    required=(("json/4_count.json", "answer"), ("json/1_plotQA.json", "candidates")),
)
