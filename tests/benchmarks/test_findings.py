"""What is measured of the starter runs at small size, so that it never rots."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from videollama2.scenes.texts import all_texts
from videollama2.scenes.world import load_world
from videollama2.training.starter.parts import build_tokenizer

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


TINY = (
    "--scenes", "8", "--held-out", "48", "--batch-size", "4", "--questions", "4", "--steps", "2",
    "--eye-steps", "2", "--eye-frames", "4", "--language-steps", "2", "--align-steps", "2",
    "--seeds", "2",
)  # fmt: skip


def test_connectors_tried_in_turn(run: Callable[..., Path], tmp_path: Path) -> None:
    names = ("no RegStage, 3D pool (8,1,1)", "RegStage, 3D conv (2,2,2)")
    options = (*TINY, "--work", str(tmp_path / "laboratory"), "--only", *names)
    out = run("findings/connectors.py", *options, "--share", "1/2")
    first = json.loads((out / "findings_connectors.json").read_text())["found"]
    assert sum(len(seeds) for seeds in first.values()) < 4
    run("findings/connectors.py", *options, "--share", "2/2")  # on the same encoders
    found = json.loads((out / "findings_connectors.json").read_text())["found"]
    assert {name: list(seeds) for name, seeds in found.items()} == {
        name: ["0", "1"] for name in names
    }
    asked = [{kind: n for kind, (n, _) in c.items()} for s in found.values() for c in s.values()]
    assert all(one == asked[0] for one in asked)  # every trial is asked the same
    table = (out / "findings_connectors.md").read_text()
    assert "45.5 / 42.2 / 47.6 / 45.1" in table
    assert "| 36 |" in table
    assert "<polyline" in (out / "findings_downsampling.svg").read_text()


def test_with_and_without_the_joint_stage(run: Callable[..., Path], tmp_path: Path) -> None:
    out = run("findings/joint_stage.py", *TINY, "--work", str(tmp_path / "laboratory"))
    found = json.loads((out / "findings_joint_stage.json").read_text())["found"]
    for name, seeds in found.items():
        for one in seeds.values():
            alone = {"the video alone": {"video alone"}, "the sound alone": {"sound alone"}}
            assert one.keys() == alone.get(name, {"both", "video alone", "sound alone"})
            assert len({tuple(n for n, _ in counts.values()) for counts in one.values()}) == 1
    assert "| with it, released window | both |" in (out / "findings_joint_stage.md").read_text()


def test_a_model_for_each_number_of_frames(run: Callable[..., Path], tmp_path: Path) -> None:
    options = (*TINY, "--work", str(tmp_path / "laboratory"), "--only", "2 frames", "32 frames")
    out = run("findings/frame_numbers.py", *options)
    found = json.loads((out / "findings_frame_numbers.json").read_text())["found"]
    assert found.keys() == {"2 frames", "32 frames"}
    assert "| 32 | 144 |" in (out / "findings_frame_numbers.md").read_text()


def test_labels_of_the_released_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER / "findings"))
    laboratory = importlib.import_module("laboratory")
    world = load_world(None)
    lab = laboratory.Laboratory(
        world, build_tokenizer(all_texts(world)), Path(), laboratory.Settings()
    )
    batch = lab.batch("train", range(4), np.random.default_rng(0), ("heard",))
    rows = laboratory.heard_in_window(batch).sounds
    assert rows.shape == (4, 93, batch.sounds.shape[2])
    assert not rows[:, 50:].any()  # sixteen seconds are heard, then nothing
    for row, time in ((1, 0.48), (10, 1.36 + 0.25), (46, 0.88 + 1.75)):  # in clips 0, 1 and 7
        assert rows[:, row].equal(batch.sounds[:, int(time * 3)])


def test_other_settings_are_refused(run: Callable[..., Path], tmp_path: Path) -> None:
    options = (*TINY, "--work", str(tmp_path / "laboratory"), "--only", "none of them")
    run("findings/connectors.py", *options)
    with pytest.raises(ValueError, match="other settings"):
        run("findings/connectors.py", *options, "--held-out", "49")
