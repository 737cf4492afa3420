"""The bundled model on held-out clips: real files, read and answered as a user's are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import videollama2
from videollama2.scenes.questions import CLOSED_KINDS, OPEN_KINDS
from videollama2.training.starter.report import SPATIAL_KINDS, Table, score_clips, wilson
from videollama2.training.starter.score import TypeScore, mean_accuracy

CLIPS = Path(__file__).parent / "clips"
FOLDER = Path(videollama2.__file__).parent / "starter"
YES_NO = ("is_there", "is_heard", "source_visible")


@pytest.fixture(scope="module")
def starter() -> Any:
    return videollama2.VideoLlama2.from_pretrained("starter")


@pytest.fixture(scope="module")
def table(starter: Any) -> Table:
    return score_clips(starter, CLIPS, ("both", "picture", "sound"))


def by_kind(scores: list[TypeScore]) -> dict[str, TypeScore]:
    return {score.kind: score for score in scores}


def test_closed_questions(table: Table) -> None:
    """At least 70 % over question types, where the commonest answer gives about half of that."""
    left_out = (*OPEN_KINDS, *SPATIAL_KINDS)
    closed = [score for score in table["both"] if score.kind not in left_out]
    assert len(closed) >= 15
    assert sum(score.kind in YES_NO for score in closed) <= 4
    commonest = sum(score.commonest for score in closed) / len(closed)
    assert commonest < 0.45
    assert mean_accuracy(table["both"], left_out) >= 0.70


def test_who_makes_the_sound_takes_both_streams(table: Table) -> None:
    both, picture, sound = (by_kind(table[c])["who_sounds"] for c in ("both", "picture", "sound"))
    assert wilson(both.right, both.asked).high >= 0.95
    assert both.accuracy > max(picture.accuracy, sound.accuracy) + 0.2


def test_each_stream_is_needed_for_what_it_alone_knows(table: Table) -> None:
    both, picture, sound = (by_kind(table[c]) for c in ("both", "picture", "sound"))
    assert both["heard"].accuracy > picture["heard"].accuracy + 0.3
    assert both["background"].accuracy > sound["background"].accuracy + 0.3


def test_every_type_is_asked(table: Table) -> None:
    assert set(CLOSED_KINDS) <= set(by_kind(table["both"]))


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
