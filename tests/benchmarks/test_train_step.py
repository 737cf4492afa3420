"""The benchmark of training steps runs at small size, so that it never rots."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "train_step.py"


def test_small(tmp_path: Path) -> None:
    out = tmp_path / "found" / "train_step.json"
    command = [sys.executable, str(SCRIPT), "--small", "--steps", "2", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(out.read_text())
    assert {"hardware", "commit", "date", "command"} <= said.keys()
    connector, cached, full = said["results"]
    assert [one["case"] for one in said["results"]] == ["connector", "cached", "full"]
    assert connector["trainable"] == cached["trainable"] < full["trainable"]
    assert cached["tflop_per_sample"] < connector["tflop_per_sample"] < full["tflop_per_sample"]
    for one in said["results"]:
        assert one["samples_per_s"] == pytest.approx(2 / one["seconds_per_step"], rel=0.01)
        reached = one["samples_per_s"] / one["floor_samples_per_s"]
        assert one["mfu"] == pytest.approx(reached, rel=0.05, abs=2e-4)
        assert one["case"] in done.stdout
