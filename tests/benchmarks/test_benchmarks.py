"""Every benchmark runs at small size and writes what it measured."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
OPTIONS = {"growth": ["--quick"], "read": ["--processes", "1"]}


@pytest.mark.parametrize(
    "name", ["encoders", "first_token", "decode", "batch", "growth", "read", "linear"]
)
def test_small(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--small", "--device", "cpu", "--repeats", "1", "--out", str(tmp_path)]
    options += OPTIONS.get(name, [])
    script = str(FOLDER / f"{name}.py")
    if name == "read":  # it starts processes, which look for it as their main module
        subprocess.run([sys.executable, script, *options], check=True, timeout=120)
    else:
        monkeypatch.setattr(sys, "argv", [script, *options])
        monkeypatch.syspath_prepend(str(FOLDER))
        runpy.run_path(script, run_name="__main__")
    (written,) = tmp_path.glob("*.json")
    values = json.loads(written.read_text())
    assert values["hardware"]
    assert values["commit"]
    assert values["date"]
    assert "--small" in values["command"]
    if name == "growth":
        assert (tmp_path / f"{written.stem}.svg").read_text().count("<polyline") == 4
        return
    assert values["cases"]
    assert all(case["ours"] > 0 for case in values["cases"])


def test_a_clip_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.mp4"
    script = [sys.executable, str(FOLDER / "read.py"), str(missing)]
    said = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False)
    assert said.returncode == 2
    assert f"{missing}: no such file" in said.stderr


def test_quantize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--limit", "8", "--kinds", "none", "int8", "--device", "cpu", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["quantize.py", *options])
    monkeypatch.syspath_prepend(str(FOLDER))
    runpy.run_path(str(FOLDER / "quantize.py"), run_name="__main__")
    plain, int8 = json.loads((tmp_path / "quantize-cpu.json").read_text())["cases"]
    assert plain["asked"] == int8["asked"] == 8
    assert plain["right"] > 0
    assert int8["language_model_bytes"] < plain["language_model_bytes"] / 2
