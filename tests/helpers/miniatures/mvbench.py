"""MVBench's twenty files: plain clips, time ranges (one past the end), folders of frames."""

import json

from miniatures import Medium, Miniature
from videollama2.evaluation.tasks.mvbench import PARTS

FILES: dict[str, str] = {}
MEDIA: dict[str, Medium] = {}
for number, part in enumerate(PARTS):
    frames = part.folder.startswith("tvqa")
    item = {
        "video": "castle_s03e01" if frames else f"{number}.mp4",
        "question": f"Which of these happens in {part.name}?",
        "candidates": ["The blue one naïve", "Yes", "Not sure", "It moves to the left."][
            : 3 + number % 2
        ],
        "answer": "Not sure",
        "accurate_start": 0.0,
    }
    second = {**item, "question": "And then?", "answer": item["candidates"][0]}
    if part.ranged:
        item |= {"start": 0.4, "end": 1.9}
        second |= {"start": 1.5, "end": 0.5}
    FILES[part.file] = json.dumps([item, second], ensure_ascii=False)
    if part.name != "Moving Count":
        MEDIA[f"video/{part.folder}/{item['video']}"] = "frames" if frames else "clip"

MINIATURE = Miniature(
    "mvbench",
    FILES,
    MEDIA,
    questions=40,
    right=tuple("CA" * 20),
    missing=("Moving Count 0", "Moving Count 1"),
    required=(
        ("json/action_sequence.json", "start"),
        ("json/fine_grained_action.json", "candidates"),
        ("json/episodic_reasoning.json", "video"),
    ),
)
