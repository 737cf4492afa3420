"""The newcomer's week as its page tells it: every command runs, in order, at a tiny size."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from videollama2.cli.main import app

PAGE = Path(__file__).parents[1] / "docs" / "first-week.md"
COMMANDS = [
    shlex.split(line)[1:]
    for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for line in block.splitlines()
]
SMALLER = {
    ("data", "scenes"): ["--clips", "6", "--held-out", "6", "--size", "64"],
    ("data", "check"): ["--workers", "1"],
    ("train",): [
        "data.workers=0",
        "batch.total=4",
        "batch.per_device=4",
        "optimizer.epochs=0.3",
        "optimizer.gradient_checkpointing=false",
    ],
}


@pytest.mark.timeout(600)
def test_the_week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    for command in COMMANDS:
        smaller = next(
            (more for name, more in SMALLER.items() if tuple(command[: len(name)]) == name), []
        )
        done = runner.invoke(app, [*command, *smaller])
        assert done.exit_code == 0, f"{shlex.join(command)}: {done.output}"
    heard = (tmp_path / "week/eval-after/report.json").read_text()
    assert "clotho_aqa" in heard
    assert (tmp_path / "week/run-stc/loss.svg").is_file()
