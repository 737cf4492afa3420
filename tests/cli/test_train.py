"""`videollama2 train`: planned, refused in one line, run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from videollama2.cli.main import app


def train(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["train", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_dry_run() -> None:
    code, out, err = train("audio_pretrain", "--dry-run", "values=released")
    assert code == 0
    assert "15,604,736" in out
    assert "audio-visual 2848" in out
    assert "391" in out  # 400,000 records in batches of 1024
    assert "warning: model.start is not set" in err


def test_wrong_usage() -> None:
    assert train("lora", "batch.totl=3")[::2] == (
        2,
        "videollama2: lora: batch.totl is no setting; did you mean batch.total?\n",
    )
    assert train("lorra")[0] == 2
    code, out, err = train("lora", "data.files=none.json", "model.start=starter/none/folder")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command becomes torch's launcher of itself."""
    became: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, arguments: became.append(arguments))
    assert train("lora", "batch.total=8", "--processes", 2)[0] == 0
    assert became[0][1:] == [
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "videollama2", "train", "lora", "batch.total=8",
    ]  # fmt: skip
    code, _, err = train("lora", "batch.total=8", "--processes", 3)
    assert (code, err.count("\n")) == (2, 1)
    assert "3 devices cannot share 8 evenly" in err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert train("lora", "--processes", 2)[0] == 2
    assert len(became) == 1


def test_a_run(tiny_folder: Path, tmp_path: Path) -> None:
    talk = [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Me."}]
    (tmp_path / "r.jsonl").write_text(json.dumps({"conversations": talk}) + "\n")
    given = [
        "video_finetune", f"model.start={tiny_folder}", f"data.files={tmp_path / 'r.jsonl'}",
        f"run.folder={tmp_path / 'run'}", "batch.total=1", "batch.per_device=1",
        "data.workers=0", "model.num_frames=8",
    ]  # fmt: skip
    code, out, err = train(*given)
    assert (code, out) == (0, f"{tmp_path / 'run' / 'model'}\n"), err
    assert (tmp_path / "run" / "model" / "config.json").is_file()
    code, out, err = train(*given)
    assert code == 0
    assert "is finished" in err
