"""Short answers that must equal the right one.

Source of the released rule: the released `eval/eval_audio_video_AVQA.py` and
`eval_audio_clothoAQA.py`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from videollama2.evaluation.task import Mark, Marks, Question


def exact_match(question: Question, answers: Sequence[str]) -> Marks:
    """Released: equal but for case, and for full stops and spaces at the answer's end.

    Strict: equal but for case, punctuation and spaces.
    """
    said, right = answers[0], question.references[0]
    loose = said.rstrip(" .")
    words = plain_words(said)
    return Marks(
        Mark(loose, {"accuracy": float(loose.upper() == right.upper())}),
        Mark(words or None, {"accuracy": float(words != "" and words == plain_words(right))}),
    )


def plain_words(text: str) -> str:
    """Letters and digits in lower case, single spaces between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(mark if mark.isalnum() else " " if mark.isspace() else "" for mark in folded)
    return " ".join(kept.split())
