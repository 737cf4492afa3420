"""MSVC's list of clips with several captions each."""

import json

from stubs import reference

from miniatures import Miniature

ITEMS = [
    {
        "video_path": "videos/MSVD/a cat.avi",
        "question": "Describe the video in detail.",
        "captions": ["a cat sleeps", 'ein Kätzchen "träumt"', "it's a cat"],
    },
    {
        "video_path": "videos/VATEX/b.mp4",
        "question": "Describe the video in detail.",
        "captions": ["one runs"],
    },
    {
        "video_path": "videos/MSRVTT/gone.mp4",
        "question": "What happens?",
        "captions": ["a car drives"],
    },
]
MINIATURE = Miniature(
    "msvc",
    {"msvc.json": json.dumps(ITEMS)},
    {"videos/MSVD/a cat.avi": "clip", "videos/VATEX/b.mp4": "other"},
    questions=3,
    right=("a cat sleeps", "one runs", "a car drives"),
    missing=("2 videos/MSRVTT/gone.mp4",),
    oracle=reference,
    required=(("msvc.json", "captions"), ("msvc.json", "question")),
)
