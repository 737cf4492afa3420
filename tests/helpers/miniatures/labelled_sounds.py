"""TUT 2017 and VocalSound as JSON Lines of a path and a label."""

import json

from miniatures import Miniature


def lines(*pairs: tuple[str, str]) -> str:
    """A list of sounds; one line in five is empty, and some hold more than is asked for."""
    rows = [json.dumps({"audio": audio, "gt": gt, "source": "x"}) for audio, gt in pairs]
    return "\n".join([*rows, ""]) + "\n"


TUT2017 = Miniature(
    "tut2017",
    {
        "tut2017_eval.jsonl": lines(
            ("audio/1.wav", "beach"),
            ("audio/zwölf.wav", "cafe/restaurant"),
            ("audio/3.wav", "Metro_Station"),
            ("audio/gone.wav", "tram"),
            ("audio/1.wav", "car"),
        )
    },
    {"audio/1.wav": "tone", "audio/zwölf.wav": "tone", "audio/3.wav": "tone"},
    questions=5,
    right=tuple("ACJOD"),
    missing=("4 gone.wav",),
    required=(("tut2017_eval.jsonl", "audio"), ("tut2017_eval.jsonl", "gt")),
)
VOCALSOUND = Miniature(
    "vocalsound",
    {
        "vocalsound_eval.jsonl": lines(
            ("data/elsewhere/f0003_0_cough.wav", "Cough"),
            ("m0100_0_throatclearing.wav", "Throat clearing"),
            ("data/gone.wav", "Sniff"),
        )
    },
    {
        "audio_16k/f0003_0_cough.wav": "tone",
        "audio_16k/m0100_0_throatclearing.wav": "tone",
    },
    questions=3,
    right=tuple("CDF"),
    missing=("3 gone.wav",),
    required=(("vocalsound_eval.jsonl", "audio"), ("vocalsound_eval.jsonl", "gt")),
)
