"""What is measured of the starter runs at small size, so that it never rots."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Runs a script in this process, with what it writes in the folder that comes back."""

    def running(script: str, *options: str) -> Path:
        path = FOLDER / script
        monkeypatch.setattr(sys, "argv", [script, *options, "--out", str(tmp_path)])
        monkeypatch.syspath_prepend(str(FOLDER))
        monkeypatch.syspath_prepend(str(path.parent))
        runpy.run_path(str(path), run_name="__main__")
        return tmp_path

    return running


def test_a_clip_stored_otherwise(run: Callable[..., Path]) -> None:
    out = run("robustness.py", "--clips", "1", "--first", "14")
    values = json.loads((out / "robustness.json").read_text())
    assert {"hardware", "commit", "date", "command"} <= values.keys()
    before, after = values["rows"]
    assert after["fps"] == 25
    assert after["change"]["value"] == pytest.approx(after["accuracy"] - before["value"])
    assert after["name"] in (out / "robustness.md").read_text()


def test_a_soundtrack_that_is_off_and_a_run_that_goes_on(run: Callable[..., Path]) -> None:
    options = ("--steps", "1", "--at-once", "4", "--only", "+0 s", "another clip's")
    out = run("findings/soundtrack.py", *options)
    file = out / "findings_soundtrack.json"
    values = json.loads(file.read_text())
    assert (out / "findings_soundtrack.svg").read_text().count("<polyline") == 4
    dropped = values["found"].pop("another clip's")
    kept = values["found"]["+0 s"] = {"heard": {"asked": 1, "right": 1}}
    file.write_text(json.dumps(values))
    run("findings/soundtrack.py", *options)
    found = json.loads(file.read_text())["found"]
    assert found["another clip's"] == dropped  # measured again, the same
    assert found["+0 s"] == kept  # not measured again


def test_fewer_and_more_frames(run: Callable[..., Path]) -> None:
    out = run("findings/frames.py", "--clips", "1")
    values = json.loads((out / "findings_frames.json").read_text())
    assert list(values["found"]) == ["2", "4", "8", "16", "32"]
    assert "<polyline" in (out / "findings_frames.svg").read_text()
