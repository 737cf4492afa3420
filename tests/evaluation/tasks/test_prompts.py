"""Prompts word for word, as the released scripts write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import miniatures

from videollama2.evaluation.registry import find
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.task import Question

ONLY = (
    "Answer with the option's letter from the given choices directly and only give the best option."
)


@pytest.fixture
def question(tmp_path: Path):
    def one(name: str, place: int = 0) -> Question:
        task, mini = find(name), miniatures()[name]
        data = mini.lay_out(tmp_path / "data", task.folder)
        return read_questions(task, data, Choice(mini.split))[place]

    return one


def test_egoschema(question) -> None:
    assert question("egoschema").prompts == (
        "Select the best answer to the following multiple-choice question based on the video.\n"
        "What does C do?\nOptions:\n(A) C cooks\n(B) C cleans the pan\n(C) C paints\n"
        f"(D) C reads «ünïcode»\n(E) C sleeps\n{ONLY} The best answer is: ",
    )


def test_mvbench(question) -> None:
    first = question("mvbench")
    assert first.prompts == (
        "Question: Which of these happens in Action Sequence?\nOptions:\n(A) The blue one naïve\n"
        f"(B) Yes\n(C) Not sure\n{ONLY}",
    )
    assert (first.media[0].start, first.media[0].end) == (0.4, 1.9)
    swapped = question("mvbench", 1).media[0]
    assert (swapped.start, swapped.end) == (0.5, 1.5)
    assert swapped.sound is False


def test_videomme(question) -> None:
    assert question("videomme").prompts == (
        "Select the best answer to the following multiple-choice question based on the video. "
        "Respond with only the letter (A, B, C, or D) of the correct option.\n"
        "What is seen in moment 0?\nA. Apples.\nB. Three.\nC. Ünder the tree.\nD. 12.\n"
        f"{ONLY} The best answer is: ",
    )
    assert dict(question("videomme").groups) == {
        "duration": "short",
        "domain": "Knowledge",
        "sub_category": "Technology",
        "task_type": "Counting Problem",
    }


def test_clotho_aqa(question) -> None:
    end = "\nAnswer the question using a single word."
    assert question("clotho_aqa").prompts == (f"Question: Is a bell heard?{end}",)
    assert question("clotho_aqa", 1).prompts == (f"Question: What is heard?{end}",)


def test_open_questions_are_asked_as_they_stand(question) -> None:
    assert question("activitynet_qa").prompts == ("who is dancing?",)
    assert question("activitynet_qa").media[0].path.name == "v_one.mp4"
    assert question("video_chatgpt", 3).prompts == ("Who cooks?", "Who is the cook?")
