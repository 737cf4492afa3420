"""The three files of Video-ChatGPT: general questions, of order, and pairs that mean the same."""

import json

from stubs import reference

from miniatures import Miniature

GENERIC = [
    {"Q": "What happens all of it?", "A": "A man cooks.", "video_name": "v_one"},
    {"Q": "And in the end?", "A": "He eats.", "video_name": "v_two"},
]
TEMPORAL = [{"Q": "What comes first?", "A": "The ónion.", "video_name": "v_one"}]
CONSISTENCY = [
    {"Q1": "Who cooks?", "Q2": "Who is the cook?", "A": "A man", "video_name": "v_one"},
    {"Q1": "Who?", "Q2": "Which one?", "A": "A man", "video_name": "v_gone"},
]

MINIATURE = Miniature(
    "video_chatgpt",
    {
        "generic_qa.json": json.dumps(GENERIC),
        "temporal_qa.json": json.dumps(TEMPORAL),
        "consistency_qa.json": json.dumps(CONSISTENCY),
    },
    {"Test_Videos/v_one.mp4": "clip", "Test_Videos/v_two.webm": "other"},
    questions=5,
    right=("A man cooks.", "He eats.", "The ónion.", "A man", "A man"),
    missing=("consistency 1",),
    oracle=reference,
    required=(("generic_qa.json", "Q"), ("consistency_qa.json", "Q2")),
)
