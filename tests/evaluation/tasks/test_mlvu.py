"""MLVU's own prompt and parser, its two splits, and a mean that weighs each task the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import miniatures
from stubs import evaluate

from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.tasks.mlvu import MLVU as TASK

MINI = miniatures()["mlvu"]


def test_prompt(tmp_path: Path) -> None:
    data = MINI.lay_out(tmp_path, TASK.folder)
    question = read_questions(TASK, data, Choice())[6]
    assert question.prompts == (
        "Carefully watch this video and pay attention to every detail. Based on your observations, "
        "select the best option that accurately addresses the question.\n"
        "Question: What does «Zoë» do?\nOptions:\n(A) Fire\n(B) Normal\n"
        "Only give the best option.\nBest option:(",
    )


def test_the_test_split(tmp_path: Path) -> None:
    data = MINI.lay_out(tmp_path, TASK.folder)
    first, second = read_questions(TASK, data, Choice("test"))
    assert (first.id, first.references, dict(first.groups)) == (
        "SQA_0",
        ("F",),
        {"task": "sportsQA"},
    )
    assert second.references == ("E",)
    assert first.media[0].path is not None


@pytest.mark.parametrize(
    ("answer", "released", "strict"),
    [
        ("B", "B", "B"),
        ("B) A man sings", "B", "B"),
        ("(B) A man sings", "B", "B"),
        ("B.", None, "B"),
        ("A man sings", None, "B"),
        ("The best is (B)", None, "B"),
        ("", None, None),
        (")", None, None),
        ("E)", None, None),
        ("AB)", None, None),
    ],
)
def test_answers(answer: str, released: str | None, strict: str | None, tmp_path: Path) -> None:
    data = MINI.lay_out(tmp_path, TASK.folder)
    marks = TASK.score(read_questions(TASK, data, Choice())[0], [answer])
    assert (marks.released.parse, marks.strict.parse) == (released, strict)
    assert marks.released.scores["accuracy"] == (released == "B")


def test_each_task_counts_the_same(tmp_path: Path) -> None:
    """Both of two plot questions right, the five answered others wrong: one task of six."""
    data = MINI.lay_out(tmp_path / "data", TASK.folder)

    def answers(question):  # type: ignore[no-untyped-def]
        right = question.references[0]
        plot = question.groups["task"] == "plotQA"
        return [right if plot else "AB"[right == "A"]]

    summary, _ = evaluate(TASK, data, answers, tmp_path / "out")
    released = summary.figure("accuracy").interval
    assert released is not None
    assert released.value == pytest.approx(100 / 6)
    assert released.count == 7
    strict = summary.figure("accuracy", "strict").interval
    assert strict is not None
    assert strict.value == pytest.approx(100 / 7)
    plot = summary.figure("accuracy", group=("task", "plotQA")).interval
    assert plot is not None
    assert (plot.value, plot.count) == (100, 2)
