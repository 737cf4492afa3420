"""The prompt word for word, the released fallbacks, and the bytes that EvalAI takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from miniatures import miniatures
from stubs import evaluate

from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.tasks.perception_test import PERCEPTION_TEST as TASK

MINI = miniatures()["perception_test"]


def test_prompt(tmp_path: Path) -> None:
    data = MINI.lay_out(tmp_path, TASK.folder)
    question = read_questions(TASK, data, Choice("valid"))[0]
    assert question.prompts == (
        "Question: What does the person do?\nOptions:\n(A) a ball\n(B) the bälle roll\n"
        "(C) nothing\nAnswer with the option's letter from the given choices directly and only "
        "give the best option.",
    )
    assert question.references == ("B",)
    assert dict(question.groups) == {"area": "physics", "reasoning": "descriptive"}
    assert question.media[0].sound is False


def test_submission_bytes(tmp_path: Path) -> None:
    """As the released scripts write it: one line a video, a comma after each but the last."""
    data = MINI.lay_out(tmp_path / "data", TASK.folder)
    said = {"video_1 0": "(B)", "video_1 2": "A", "video_7 0": "Nothing"}
    summary, samples = evaluate(
        TASK, data, lambda question: [said.get(question.id, "")], tmp_path / "out"
    )
    assert summary.figure("accuracy").interval is None
    assert TASK.submission is not None
    text = TASK.submission.write((one.question, one.reply.answers, one.marks) for one in samples)
    expected = {
        "video_1": [
            {"id": 0, "answer_id": 1, "answer": "the bälle roll"},
            {"id": 2, "answer_id": 0, "answer": "nothing"},
        ],
        "video_7": [{"id": 0, "answer_id": 2, "answer": "nothing"}],
        "video_9": [{"id": 1, "answer_id": 2, "answer": "nothing"}],
    }
    lines = [f'"{video}": {json.dumps(answers)}' for video, answers in expected.items()]
    assert text == "{\n" + ",\n".join(lines) + "\n}\n"
    assert json.loads(text) == expected


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("options", ["a", "b"], "are 2, not 3"),
        ("answer_id", 3, "no number from 0 to 2"),
        ("id", 0.5, "whole number"),
    ],
)
def test_what_cannot_be_is_refused(field: str, value: object, reason: str, tmp_path: Path) -> None:
    data = MINI.lay_out(tmp_path, TASK.folder)
    file = data / TASK.folder / "mc_question_valid.json"
    videos = json.loads(file.read_text(encoding="utf-8"))
    videos["video_7"]["mc_question"][0][field] = value
    file.write_text(json.dumps(videos), encoding="utf-8")
    with pytest.raises(AnnotationError, match=reason) as caught:
        read_questions(TASK, data, Choice("valid"))
    assert caught.value.where == "video_7.mc_question.0"
    assert caught.value.field == field
