"""Where vLLM is not installed, every way in says so in one line, and how to get it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from videollama2.cli.main import app
from videollama2.engines.vllm.missing import MissingVllmError
from videollama2.engines.vllm.offline import OfflineEngine


@pytest.fixture
def without_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoVllm:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name.split(".")[0] == "vllm":
                raise ModuleNotFoundError(name)

    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoVllm(), *sys.meta_path])
    monkeypatch.setattr("videollama2.engines.vllm.missing.find_spec", lambda name: None)


@pytest.mark.usefixtures("without_vllm")
def test_the_engine_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(MissingVllmError, match="make venv-vllm"):
        OfflineEngine(str(tmp_path))


@pytest.mark.usefixtures("without_vllm")
def test_eval_says_what_to_install(tmp_path: Path) -> None:
    from miniatures import miniatures

    from videollama2.evaluation.registry import find

    miniatures()["egoschema"].lay_out(tmp_path / "data", find("egoschema").folder)
    words = ["egoschema", "--split", "subset", "--data", str(tmp_path / "data")]
    words += ["--out", str(tmp_path / "out"), "--engine", "vllm"]
    done = CliRunner().invoke(app, ["eval", *words])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert 'pip install "videollama2[vllm]"' in done.stderr


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--endpoint", "http://localhost:1/v1"], "do not go together"),
        (["--device", "cpu"], "leave --device out"),
    ],
)
def test_what_does_not_go_with_vllm(tmp_path: Path, more: list[str], why: str) -> None:
    from miniatures import miniatures

    from videollama2.evaluation.registry import find

    miniatures()["egoschema"].lay_out(tmp_path / "data", find("egoschema").folder)
    words = ["egoschema", "--split", "subset", "--data", str(tmp_path / "data")]
    words += ["--out", str(tmp_path / "out"), "--engine", "vllm", *more]
    done = CliRunner().invoke(app, ["eval", *words])
    assert done.exit_code == 2
    assert why in done.stderr


@pytest.mark.parametrize(
    ("more", "code", "why"),
    [
        ([], 1, 'pip install "videollama2[vllm]"'),
        (["--device", "cpu"], 2, "leave --device out"),
        (["--workers", "2"], 2, "--ray local"),
    ],
)
@pytest.mark.usefixtures("without_vllm")
def test_caption_says_what_it_needs(tmp_path: Path, more: list[str], code: int, why: str) -> None:
    words = [str(tmp_path), str(tmp_path / "o.jsonl"), "--engine", "vllm", *more]
    done = CliRunner().invoke(app, ["caption", *words])
    assert done.exit_code == code
    assert done.stderr.count("\n") == 1
    assert why in done.stderr
