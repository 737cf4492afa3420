"""The bundled model on held-out clips, by `eval scenes`: real files, read as a user's are."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

import videollama2
from videollama2.evaluation.local import LocalModel
from videollama2.evaluation.registry import find
from videollama2.evaluation.replies import read_replies
from videollama2.evaluation.run import Choice, answer, read_questions
from videollama2.evaluation.samples import score_all
from videollama2.scenes.questions import CLOSED_KINDS
from videollama2.training.starter.report import SPATIAL_KINDS, wilson

CLIPS = Path(__file__).parent / "clips"
FOLDER = Path(videollama2.__file__).parent / "starter"
YES_NO = ("is_there", "is_heard", "source_visible")
Scores = dict[str, dict[str, list[float]]]


@pytest.fixture(scope="module")
def starter() -> Any:
    return videollama2.VideoLlama2.from_pretrained("starter")


@pytest.fixture(scope="module")
def scores(starter: Any, tmp_path_factory: pytest.TempPathFactory) -> Scores:
    """Metric -> question type -> what each answer scores, in the usual wordings."""
    task, choice, out = find("scenes"), Choice(), tmp_path_factory.mktemp("scenes")
    asked = [
        question
        for question in read_questions(task, CLIPS, choice)
        if question.details["metric"] in ("accuracy", "picture only", "sound only")
    ]
    answer(asked, LocalModel.of(starter), choice.decoding(task), out, batch_size=24)
    found: Scores = defaultdict(lambda: defaultdict(list))
    for sample in score_all(task, asked, read_replies(out), {}):
        for metric, value in sample.marks.released.scores.items():
            found[metric][sample.question.groups["type"]].append(value)
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_closed_questions(scores: Scores) -> None:
    """At least 90 % over question types, where the commonest answer gives about a third of that."""
    kinds = CLOSED_KINDS
    assert len(kinds) >= 15
    assert sum(kind in YES_NO for kind in kinds) <= 4
    right: dict[str, list[str]] = defaultdict(list)
    for question in read_questions(find("scenes"), CLIPS, Choice()):
        if question.details["metric"] == "accuracy":
            right[question.groups["type"]] += question.references
    assert set(CLOSED_KINDS) == set(right)
    guessed = mean([max(Counter(right[kind]).values()) / len(right[kind]) for kind in kinds])
    assert guessed < 0.35
    assert mean([mean(scores["accuracy"][kind]) for kind in kinds]) >= 0.90


@pytest.mark.parametrize("kind", [*SPATIAL_KINDS, "source_visible", "before_after", "last_thing"])
def test_what_was_learned_last(scores: Scores, kind: str) -> None:
    """Where, which way, when, and whether a source is seen: no longer near the commonest answer."""
    assert mean(scores["accuracy"][kind]) >= 0.8


def test_sounds_of_files_are_named_and_counted(scores: Scores) -> None:
    """Compressed at 48 kbit/s, as they ship."""
    for kind in ("heard", "count_sounds", "which_sound_first"):
        assert mean(scores["accuracy"][kind]) >= 0.9


def test_who_makes_the_sound_takes_both_streams(scores: Scores) -> None:
    both = scores["accuracy"]["who_sounds"]
    picture, sound = (mean(scores[f"{one} only"]["who_sounds"]) for one in ("picture", "sound"))
    assert wilson(int(sum(both)), len(both)).high >= 0.95
    assert mean(both) > max(picture, sound) + 0.35


def test_each_stream_is_needed_for_what_it_alone_knows(scores: Scores) -> None:
    both = scores["accuracy"]
    assert mean(both["heard"]) > mean(scores["picture only"]["heard"]) + 0.3
    assert mean(both["background"]) > mean(scores["sound only"]["background"]) + 0.3


def test_small_enough_to_come_along() -> None:
    sizes = [path.stat().st_size for path in FOLDER.iterdir()]
    assert sum(sizes) <= 24e6
    assert max(sizes) <= 15e6


def test_says_what_it_took_in(starter: Any) -> None:
    clip = sorted(CLIPS.glob("*.mp4"))[0]
    answer = starter.ask("What do you see and hear?", video=clip)
    (report,) = answer.media
    assert (report.kind, report.frames) == ("video", 8)
    assert 3.5 < report.sound_s < 4.5
    assert answer
