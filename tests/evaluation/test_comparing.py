"""Two output folders question by question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from videollama2.evaluation.comparing import COMPARED, compare_runs
from videollama2.evaluation.errors import EvaluationError


def write(folder: Path, rows: list[tuple[str, str, dict[str, float], dict[str, float]]]) -> Path:
    file = folder / "mvbench" / "samples.jsonl"
    file.parent.mkdir(parents=True)
    lines: list[dict[str, Any]] = [
        {
            "id": one,
            "video": f"v{one}",
            "groups": {"task": group},
            "released": {"scores": released},
            "strict": {"scores": strict},
            "pending": [],
        }
        for one, group, released, strict in rows
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_pairs(tmp_path: Path) -> None:
    right, wrong = {"accuracy": 1.0}, {"accuracy": 0.0}
    first = write(
        tmp_path / "a",
        [(str(n), "xy"[n % 2], right if n < 10 else wrong, wrong) for n in range(40)]
        + [("only a", "x", right, right)],
    )
    second = write(
        tmp_path / "b",
        [(str(n), "xy"[n % 2], right if n < 30 else wrong, wrong) for n in range(39)]
        + [("39", "y", {}, wrong)],
    )
    found, left = compare_runs(first, second)
    assert left == ["mvbench: 1 questions are in one run only and are left out"]
    rows = {(one.group[1], one.scoring): one for one in found}
    assert set(rows) == {(g, s) for g in ("", "x", "y") for s in ("released", "strict")}
    whole = rows["", "released"]
    assert whole.found.difference.count == 39  # one is not scored in b
    assert whole.found.first == pytest.approx(1000 / 39)
    assert whole.found.difference.value == pytest.approx(2000 / 39)
    assert whole.row()[-2:] == ("better", "39")
    assert rows["", "strict"].row()[-2:] == ("unclear", "40")
    assert rows["x", "released"].found.difference.count == 20
    assert len(whole.row()) == len(COMPARED)
    back, _ = compare_runs(second, first, ("released",))
    assert back[0].row()[-2] == "worse"
    assert {one.scoring for one in back} == {"released"}


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [("1", "x", {}, {})])
    with pytest.raises(EvaluationError, match="no scored benchmark"):
        compare_runs(first, tmp_path / "none")
    other = tmp_path / "c" / "egoschema"
    other.mkdir(parents=True)
    (other / "samples.jsonl").write_text('{"id": "1"}\n')
    with pytest.raises(EvaluationError, match="no benchmark in common"):
        compare_runs(first, tmp_path / "c")
