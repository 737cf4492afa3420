"""The authors' lists of videos with one question and one answer: MUSIC-AVQA, AVSD, VGGSound."""

import json

from stubs import reference

from miniatures import Miniature


def item(video: str, question: str, answer: str) -> dict[str, object]:
    turns = [{"from": "human", "value": f"<video>\n{question}"}, {"from": "gpt", "value": answer}]
    return {"id": 0, "video": video, "conversations": turns}


MUSIC_AVQA = Miniature(
    "music_avqa",
    {
        "AVQA_music_test.json": json.dumps(
            [
                item("/data/of/authors/0001.mp4", "How many cellos are sounding?", "two"),
                item("own/0002 ö.mp4", "Which one is loudest?", "Violinist's"),
                item("0001.mp4", "Is the bässoon first?", "yes"),
                item("gone.mp4", "Is there a flute?", "no"),
            ]
        )
    },
    {"MUSIC-AVQA-videos/0001.mp4": "clip", "own/0002 ö.mp4": "silent"},
    questions=4,
    right=("two", "Violinist's", "yes", "no"),
    missing=("3 gone.mp4",),
    oracle=reference,
    required=(("AVQA_music_test.json", "video"), ("AVQA_music_test.json", "conversations")),
)
AVSD = Miniature(
    "avsd",
    {
        "instruction_val.json": json.dumps(
            [
                item("Charades_v1_480/7UPGT.mp4", "is he alone?", "yes, he is «alone»"),
                item("Charades_v1_480/7UPGT.mp4", "what does he hold?", "a bröom"),
                item("Charades_v1_480/GONE.mp4", "is he alone?", "no"),
            ]
        )
    },
    {"Charades_v1_480/7UPGT.mp4": "clip"},
    questions=3,
    right=("yes, he is «alone»", "a bröom", "no"),
    missing=("2 GONE.mp4",),
    oracle=reference,
    required=(("instruction_val.json", "video"), ("instruction_val.json", "conversations")),
)
VGGSOUND = Miniature(
    "vggsound",
    {
        "avssd_test.json": json.dumps(
            [
                item("/x/-0jeO_000010.mp4", "What is it?", "dog bow-wow"),
                item("/x/b_000020.mp4", "What is it?", "pläying flute"),
                item("/x/gone_000000.mp4", "What is it?", "people sneezing"),
            ]
        )
    },
    {
        "VGGSound_final/video/-0jeO_000010.mp4": "clip",
        "VGGSound_final/video/b_000020.mp4": "other",
    },
    questions=3,
    right=("dog bow-wow", "pläying flute", "people sneezing"),
    missing=("2 gone_000000.mp4",),
    oracle=reference,
    required=(("avssd_test.json", "video"), ("avssd_test.json", "conversations")),
)
