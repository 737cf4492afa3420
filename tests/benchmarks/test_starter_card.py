"""The starter's card says what its measurements say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from videollama2.training.starter.report import as_data, from_data

ROOT = Path(__file__).parents[2]
CARD = ROOT / "src" / "videollama2" / "starter" / "README.md"
RESULTS = ROOT / "benchmarks" / "results"


def fill(card: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks" / "starter_card.py", "--card", card]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_the_card_says_what_the_result_files_say(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text(CARD.read_text())
    assert fill(card).returncode == 0
    assert card.read_text() == CARD.read_text()


def test_a_figure_written_by_hand_does_not_stay(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    told = CARD.read_text()
    card.write_text(told.replace("mean, closed ", "mean, boasted"))
    assert card.read_text() != told
    assert fill(card).returncode == 0
    assert card.read_text() == told


@pytest.mark.parametrize("found", ["", "<!-- starter_turns -->\n<!-- end -->\n" * 2])
def test_a_card_without_a_place_is_left_alone(tmp_path: Path, found: str) -> None:
    card = tmp_path / "README.md"
    card.write_text(found)
    done = fill(card)
    assert done.returncode != 0
    assert "places for starter_world" in done.stderr
    assert card.read_text() == found


def test_counts_come_back_as_they_were_written() -> None:
    data = json.loads((RESULTS / "starter_world.json").read_text())
    assert as_data(from_data(data)) == data
