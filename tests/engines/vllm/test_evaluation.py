"""`videollama2 eval --engine vllm` as people start it, in its own processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from miniatures import miniatures
from typer.testing import CliRunner
from vllm_servers import ENVIRONMENT, STARTING_S

from videollama2.cli.main import app
from videollama2.evaluation.registry import find
from videollama2.evaluation.replies import read_replies


def test_the_replies_of_our_own_engine(tmp_path: Path) -> None:
    """The same numbers, and nothing runs on afterwards."""
    miniatures()["clotho_aqa"].lay_out(tmp_path / "data", find("clotho_aqa").folder)
    words = ["eval", "clotho_aqa", "--data", str(tmp_path / "data"), "--dtype", "float32"]
    words += ["--max-new-tokens", "4", "--batch-size", "256"]
    own = CliRunner().invoke(app, [*words, "--device", "cpu", "--out", str(tmp_path / "own")])
    assert own.exit_code == 0, own.stderr
    words += ["--engine", "vllm", "--out", str(tmp_path / "vllm")]
    process = subprocess.Popen(
        [sys.executable, "-m", "videollama2", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **ENVIRONMENT},
        start_new_session=True,
    )
    said = process.communicate(timeout=STARTING_S)[0]
    assert process.returncode == 0, said[-3000:]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    replies = [read_replies(tmp_path / name / "clotho_aqa") for name in ("own", "vllm")]
    answers = [{id_: one.answers for id_, one in found.items()} for found in replies]
    assert answers[0] == answers[1]
    assert any(any(one) for one in answers[0].values())
