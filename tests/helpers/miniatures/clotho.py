"""Clotho's table of five captions a sound."""

from stubs import reference

from miniatures import Miniature

HEADER = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
ROWS = (
    'rain 1.wav,It rains.,"Rain, softly","Drops ""fall""",Es regnet über allem,wet\n'
    "gone.wav,a,b,c,d,e\n"
    "Bell.wav,A bell,The bell\u2028rings,bells,ding,dong\n"
)
MINIATURE = Miniature(
    "clotho",
    {"clotho_captions_evaluation.csv": HEADER + ROWS},
    {"evaluation/rain 1.wav": "tone", "evaluation/Bell.wav": "tone"},
    questions=3,
    right=("It rains.", "a", "A bell"),
    missing=("gone.wav",),
    oracle=reference,
)
