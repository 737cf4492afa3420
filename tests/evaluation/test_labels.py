"""The released prompts word for word, and answers read as the released scripts read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.evaluation.labels import label_marks
from videollama2.evaluation.task import Question
from videollama2.evaluation.tasks import tut2017, vocalsound


def asked(right: str, labels: tuple[str, ...] = tut2017.LABELS) -> Question:
    letter = "ABCDEFGHIJKLMNO"[labels.index(right)]
    return Question("1", ("?",), (), (letter,), labels)


def test_prompts() -> None:
    assert tut2017.PROMPT == (
        "Question: Identify the sound event in the audio.\nOptions:\n(A) beach\n(B) bus\n"
        "(C) cafe or restaurant\n(D) car\n(E) city center\n(F) forest path\n(G) grocery store\n"
        "(H) home\n(I) library\n(J) metro station\n(K) office\n(L) park\n(M) residential area\n"
        "(N) train\n(O) tram\n.Answer with the option's letter from the given choices directly and "
        "only give the best option."
    )
    assert vocalsound.PROMPT == (
        "Identify the human sound in the audio.\nOptions:\n(A) Laughter\n(B) Sigh\n(C) Cough\n"
        "(D) Throat clearing\n(E) Sneeze\n(F) Sniff\n.Answer with the option's letter from the "
        "given choices directly and only give the best option."
    )


@pytest.mark.parametrize(
    ("answer", "right", "released", "strict"),
    [
        ("A", "beach", True, True),
        ("(O)", "tram", True, True),
        ("o", "tram", True, True),
        ("B.", "bus", False, True),  # released: no letter alone
        ("(B) bus", "bus", True, True),
        ("It is a CAR.", "car", True, True),
        ("a scary place", "car", True, False),  # released: contained wherever it stands
        ("a tram or a train", "train", True, False),
        ("cafe", "cafe or restaurant", False, False),
        ("P", "beach", False, False),
        ("", "beach", False, False),
        ("A or B", "beach", False, False),
        ("Öffice", "office", False, False),
        ("((A))", "beach", False, True),
    ],
)
def test_answers(answer: str, right: str, released: bool, strict: bool) -> None:
    marks = label_marks(asked(right), [answer])
    assert marks.released.scores["accuracy"] == released
    assert marks.strict.scores["accuracy"] == strict


@given(st.text(max_size=12), st.sampled_from(tut2017.LABELS))
def test_released_rule_is_the_scripts(answer: str, right: str) -> None:
    """The two conditions of the released scripts: the label contained, or a letter's own label."""
    letters = dict(zip("ABCDEFGHIJKLMNO", tut2017.LABELS, strict=True))
    said = answer.strip().upper()
    named = {form: label for one, label in letters.items() for form in (one, f"({one})")}
    expected = right.upper() in said or (said in named and right.upper() in named[said].upper())
    assert label_marks(asked(right), [answer]).released.scores["accuracy"] == expected


@given(st.sampled_from(tut2017.LABELS), st.sampled_from(tut2017.LABELS))
def test_a_label_is_the_right_one_or_wrong(right: str, said: str) -> None:
    marks = label_marks(asked(right), [said])
    assert marks.strict.scores["accuracy"] == (right == said)
    assert marks.released.scores["accuracy"] == (right == said)
