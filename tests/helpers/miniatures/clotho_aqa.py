"""The list of sounds, questions and one-word answers that the released script reads."""

import json

from stubs import reference

from miniatures import Miniature


def item(number: int, audio: str, question: str, answer: str) -> dict[str, object]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": number, "audio": audio, "conversations": turns}


MINIATURE = Miniature(
    "clotho_aqa",
    {
        "clothoAQA_eval.json": json.dumps(
            [
                item(0, "audio_files/bell öne.wav", "Is a bell heard?", "yes"),
                item(1, "audio_files/bell öne.wav", "<audio>\nWhat is heard?", "Bell"),
                item(2, "audio_files/gone.wav", "Does it rain?", "no"),
                item(3, "audio_files/clip.mp4", "Does it rain?", "No"),
            ]
        )
    },
    {"audio_files/bell öne.wav": "tone", "audio_files/clip.mp4": "clip"},
    questions=4,
    right=("yes", "Bell", "no", "No"),
    missing=("2 2",),
    oracle=reference,
    required=(("clothoAQA_eval.json", "audio"), ("clothoAQA_eval.json", "conversations")),
)
