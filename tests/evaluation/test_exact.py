"""Answers that must equal the right one, released and strict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.evaluation.exact import exact_match
from videollama2.evaluation.task import Question


def scores(answer: str, right: str) -> tuple[float, float]:
    marks = exact_match(Question("1", ("?",), (), (right,)), [answer])
    return marks.released.scores["accuracy"], marks.strict.scores["accuracy"]


@pytest.mark.parametrize(
    ("answer", "right", "released", "strict"),
    [
        ("Two", "two", 1, 1),
        ("two. . ", "two", 1, 1),
        (" two", "two", 0, 1),
        ("two!", "two", 0, 1),
        ("Violinist\u2019s", "violinist's", 0, 1),
        ("left  hand", "left hand", 0, 1),
        ("twoo", "two", 0, 0),
        ("There are two.", "two", 0, 0),
        ("", "two", 0, 0),
        ("\uff34\uff37\uff2f", "two", 0, 1),
        ("STRASSE", "straße", 1, 1),
    ],
)
def test_answers(answer: str, right: str, released: float, strict: float) -> None:
    assert scores(answer, right) == (released, strict)


def test_nothing_never_equals_nothing_in_the_strict_scoring() -> None:
    assert scores("", "...") == (0, 0)
    assert exact_match(Question("1", ("?",), (), ("x",)), ["?!"]).strict.parse is None


@given(st.text(min_size=1, max_size=20))
def test_what_is_right_released_is_right_strictly_where_there_are_words(answer: str) -> None:
    released, strict = scores(answer, answer.rstrip(" .") or "x")
    assert released == float(bool(answer.rstrip(" .")))
    assert strict >= released * any(mark.isalnum() for mark in answer)
