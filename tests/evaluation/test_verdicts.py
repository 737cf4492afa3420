"""Judges' replies in every form that they come in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.evaluation.task import Judgement, JudgePrompt
from videollama2.evaluation.verdicts import read_verdict, schema_of


def prompt(*_: object) -> JudgePrompt:
    return JudgePrompt("s", "u")


MATCH = Judgement("match", prompt, "score", yes_metric="accuracy")
ASPECT = Judgement("detail", prompt, "detail")


@pytest.mark.parametrize(
    ("text", "yes", "score"),
    [
        ('{"pred": "yes", "score": 4}', True, 4),
        ("{'pred': 'no', 'score': 0}", False, 0),
        ("{'pred': 'yes', 'score': 4.8}", True, 4),  # int() of the released scripts
        ("{'pred': 'Yes.', 'score': '3'}", True, 3),
        ('```json\n{"pred": "no", "score": 1}\n```', False, 1),
        ("Sure! {'pred': 'yes', 'score': 5}. Glad to help {you}.", True, 5),
        ("{''pred'': 'yes', ''score': 4.8}", True, 4),  # as the released prompt shows it
        ("{'pred': yes, 'score': 2}", True, 2),
    ],
)
def test_understood(text: str, yes: bool, score: int) -> None:
    verdict = read_verdict(text, MATCH)
    assert (verdict.yes, verdict.score) == (yes, score)
    assert verdict.scores(MATCH) == {"accuracy": float(yes), "score": float(score)}


def test_the_released_example_of_an_aspect() -> None:
    assert read_verdict("{''score': 4.8}", ASPECT).scores(ASPECT) == {"detail": 4.0}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yes, 5",
        '{"pred": "yes"}',
        '{"score": 4}',
        '{"pred": "maybe", "score": 4}',
        '{"pred": "yes", "score": "high"}',
        '{"pred": "yes", "score": null}',
        '{"pred": "yes", "score": 6}',
        '{"pred": "yes", "score": -1}',
        '{"pred": "yes", "score": NaN}',
        "[1, 2]",
        "{" * 500,
    ],
)
def test_not_understood(text: str) -> None:
    with pytest.raises(ValueError, match=r"pred|score"):
        read_verdict(text, MATCH)


@given(st.text())
def test_any_text_gives_a_verdict_or_a_reason(text: str) -> None:
    try:
        verdict = read_verdict(text, ASPECT)
    except ValueError:
        return
    assert verdict.score is not None
    assert 0 <= verdict.score <= 5


@given(st.integers(0, 5), st.booleans())
def test_what_keeps_to_the_schema_is_understood(score: int, yes: bool) -> None:
    schema = schema_of(MATCH)
    said = {"pred": "yes" if yes else "no", "score": score}
    assert set(schema["required"]) == set(said) == set(schema["properties"])
    assert said["pred"] in schema["properties"]["pred"]["enum"]
    verdict = read_verdict(json.dumps(said), MATCH)
    assert (verdict.score, verdict.yes) == (score, yes)
