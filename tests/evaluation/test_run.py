"""Runs that are stopped anywhere go on: every question answered once, none twice, none lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniatures import miniatures
from stubs import StubAnswerer, letter

from videollama2.evaluation.answering import Decoding
from videollama2.evaluation.errors import AnnotationError, EvaluationError, ServerError
from videollama2.evaluation.registry import find
from videollama2.evaluation.replies import Failure, Reply, read_lines, read_replies
from videollama2.evaluation.run import Choice, answer, claim, read_questions, settings_of
from videollama2.evaluation.sharding import Place
from videollama2.evaluation.task import MediaFile, Question

GREEDY = Decoding(8)


def questions(number: int, units: int = 1000) -> list[Question]:
    return [
        Question(f"q{n}", ("?",), (), ("A",), ("x", "y"), cluster=f"v{n % units}")
        for n in range(number)
    ]


class Dies(StubAnswerer):
    """Falls over at a batch."""

    def __init__(self, at: int) -> None:
        super().__init__(letter)
        self.left = at

    def answer(self, questions: Sequence[Question], decoding: Decoding) -> list[Reply]:
        if not self.left:
            raise ServerError("http://x", "it is down", "Run again")
        self.left -= 1
        return super().answer(questions, decoding)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(0, 6))
def test_goes_on_where_it_stopped(
    tmp_path_factory: pytest.TempPathFactory, number: int, batch_size: int, dies_at: int
) -> None:
    out = tmp_path_factory.mktemp("run")
    asked = questions(number)
    first = Dies(dies_at)
    try:
        answer(asked, first, GREEDY, out, batch_size=batch_size)
    except ServerError:
        assert len(read_replies(out)) == len(first.asked) == dies_at * batch_size
    second = StubAnswerer(letter)
    answer(asked, second, GREEDY, out, batch_size=batch_size)
    seen = [one.id for one in (*first.asked, *second.asked)]
    assert seen == [one.id for one in asked]
    assert len(read_lines(out / "replies-0.jsonl")) == number


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 9))
def test_shares_are_everything_once_and_keep_videos_together(
    number: int, world: int, units: int
) -> None:
    asked = questions(number, units)
    shares = [Place(rank, world).share(asked) for rank in range(world)]
    assert sorted(one.id for share in shares for one in share) == sorted(one.id for one in asked)
    owners = {one.unit: rank for rank, share in enumerate(shares) for one in share}
    assert all(owners[one.unit] == rank for rank, share in enumerate(shares) for one in share)
    counts = [len({one.unit for one in share}) for share in shares]
    assert max(counts) - min(counts) <= 1


def test_progress_and_bad_sizes(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    asked = questions(5)
    answer(
        asked,
        StubAnswerer(letter),
        GREEDY,
        tmp_path,
        batch_size=2,
        progress=lambda *n: told.append(n),
    )
    assert told == [(0, 5), (2, 5), (4, 5), (5, 5)]
    with pytest.raises(ValueError, match="batch_size is 0"):
        answer(asked, StubAnswerer(letter), GREEDY, tmp_path, batch_size=0)


def test_media_that_came_since_are_asked_about(tmp_path: Path) -> None:
    """What was missing or broken is asked again, and the answer counts; nothing else is."""
    clip = tmp_path / "late.mp4"
    late = MediaFile("video", "late", None)
    asked = [*questions(2), Question("late", ("?",), (late,), ("A",), ("x", "y"))]
    answer(asked, StubAnswerer(letter), GREEDY, tmp_path)
    assert read_replies(tmp_path)["late"].failure is not None
    still = StubAnswerer(letter)
    answer(asked, still, GREEDY, tmp_path)
    assert still.asked == []
    clip.write_bytes(b"x")
    asked[2] = replace(asked[2], media=(replace(late, path=clip),))
    for reply in (
        Reply("late", ("?",), failure=Failure("unreadable", "it is cut")),
        Reply("late", ("?",), ("A",)),
    ):
        again = StubAnswerer(letter)
        again.answer = lambda some, _, reply=reply: [reply for _ in some]  # type: ignore[method-assign]
        answer(asked, again, GREEDY, tmp_path)
        assert read_replies(tmp_path)["late"] == reply
    answer(asked, still, GREEDY, tmp_path)
    assert still.asked == []
    assert read_replies(tmp_path)["late"].answers == ("A",)


def test_answers_to_other_questions_are_not_taken(tmp_path: Path) -> None:
    asked = questions(3)
    answer(asked, StubAnswerer(letter), GREEDY, tmp_path)
    before = (tmp_path / "replies-0.jsonl").read_bytes()
    asked[1] = replace(asked[1], prompts=("What else?",))
    with pytest.raises(EvaluationError, match=r"another question 'q1'.*Choose another --out"):
        answer(asked, StubAnswerer(letter), GREEDY, tmp_path)
    assert (tmp_path / "replies-0.jsonl").read_bytes() == before


def test_a_folder_is_one_run_s(tmp_path: Path) -> None:
    task = find("mvbench")
    settings = settings_of(task, StubAnswerer(letter), Choice())
    claim(tmp_path, settings)
    claim(tmp_path, settings)
    claim(tmp_path, settings_of(task, StubAnswerer(letter), Choice(limit=5, batch_size=1)))
    for other in (
        settings_of(task, StubAnswerer(letter, name="another"), Choice()),
        settings_of(task, StubAnswerer(letter, num_frames=16), Choice()),
        settings_of(task, StubAnswerer(letter), Choice(temperature=0.5)),
    ):
        with pytest.raises(EvaluationError, match=r"answers of another run.*Choose another --out"):
            claim(tmp_path, other)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(EvaluationError, match="no JSON"):
        claim(tmp_path, settings)


def test_limits_are_spread_and_splits_are_known(tmp_path: Path) -> None:
    task = find("mvbench")
    data = miniatures()["mvbench"].lay_out(tmp_path, task.folder)
    few = read_questions(task, data, Choice(limit=20))
    assert len({one.groups["task"] for one in few}) == 20
    assert read_questions(task, data / "mvbench", Choice(limit=20)) == few
    with pytest.raises(ValueError, match=r"no split 'val': it has test"):
        read_questions(task, data, Choice(split="val"))
    with pytest.raises(AnnotationError, match="--prepare"):
        read_questions(task, tmp_path / "nowhere", Choice())


def test_two_questions_of_one_id_are_refused(tmp_path: Path) -> None:
    task = find("egoschema")
    mini = miniatures()["egoschema"]
    data = mini.lay_out(tmp_path, task.folder)
    file = data / task.folder / "questions.json"
    file.write_text(file.read_text().replace("bb-2", "aa-1"))
    with pytest.raises(
        AnnotationError, match=r"questions.json\[1\]: field 'q_uid' gives the id of"
    ):
        read_questions(task, data, Choice())
