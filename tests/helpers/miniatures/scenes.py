"""Held-out scenes: two wordings, open questions, a clip that is not there."""

import json

from stubs import reference

from miniatures import Miniature


def item(clip: str, split: str, kind: str, question: str, answer: str) -> dict[str, str]:
    return {"clip": clip, "split": split, "kind": kind, "question": question, "answer": answer}


FIELDS = ("clip", "split", "kind", "question", "answer")
MINIATURE = Miniature(
    "scenes",
    {
        "questions.json": json.dumps(
            [
                item("scene-000.mp4", "train", "is_heard", "is a bell heard?", "yes"),
                item("scene-000.mp4", "unseen", "background", "Its colour?", "Green"),
                item("scene-000.mp4", "train", "list_things", "what is there?", "a cat, a dög"),
                item("scene-000.mp4", "unseen", "describe", "describe it", "a cat on green"),
                item("gone.mp4", "train", "place", "where is it?", "top left"),
                item("scene-000.mp4", "unseen", "not_there", "where is a dog?", "there is no dog"),
            ]
        )
    },
    {"scene-000.mp4": "clip"},
    questions=9,
    right=(*["yes"] * 3, "Green", "a cat, a dög", *["top left"] * 3, "there is no dog"),
    missing=("4 accuracy", "4 picture only", "4 sound only"),
    oracle=reference,
    required=tuple(("questions.json", field) for field in FIELDS),
)
