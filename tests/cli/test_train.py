"""`videollama2 train`: planned, refused in one line, run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


def pair(question: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": "Yes."}]


def test_dry_run_from_anywhere(tmp_path: Path) -> None:
    """Nothing is there, nothing is asked for: said, planned, done."""
    records = [{"video": f"lost{n}.mp4", "conversations": pair("<video>\nWhat?")} for n in (1, 2)]
    (tmp_path / "r.json").write_text(json.dumps(records, indent=1))
    small = ["model.num_frames=2", "batch.total=1", "batch.per_device=1"]
    done = subprocess.run(
        [sys.executable, "-m", "videollama2", "train", "video_pretrain", "--dry-run", *small,
         "model.start=nowhere/at/all", "data.files=[r.json, {path: none.json}]"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=250,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path),
             "HTTPS_PROXY": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for lost in ("model.start nowhere/at/all", "lost1.mp4", "lost2.mp4", "none.json"):
        assert [line for line in done.stderr.splitlines() if lost in line], lost
    assert all(line.startswith("warning: ") for line in done.stderr.splitlines())
    for said in ("connector", "376,889,248", "tokens a sample", "steps", "memory, estimated"):
        assert said in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


WRONG = {
    "a key": (["batch.totl=3"], None, "batch.totl is no setting; did you mean batch.total?"),
    "a list that is not there": (["data.files=none.json"], None, "none.json: no such file"),
    "a medium that is not there": (
        [], {"video": "none.mp4", "conversations": pair("<video>\nWhat?")}, "none.mp4"),
    "a picture for a video": (
        [], {"video": "a.jpg", "conversations": pair("<video>\nWhat?")}, "looks like image"),
    "no records": ([], [], "holds no records"),
    "an empty conversation": ([], {"conversations": []}, "empty"),
    "a turn without answer": (
        [], {"conversations": [*pair("a"), {"from": "human", "value": "b"}]}, "come in pairs"),
    "a placeholder without media": (
        [], {"conversations": pair("<video>\nWhat?")}, "a <video> without video"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_one_line_before_any_work(
    case: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said before a model is read, and without a run folder left behind."""
    more, record, said = WRONG[case]
    monkeypatch.setattr("videollama2.training.run.load_model", no_work)
    records = record if isinstance(record, list) else [record or {"conversations": pair("a")}]
    (tmp_path / "r.json").write_text(json.dumps(records))
    data = f"data.files=[{{path: {tmp_path / 'r.json'}, folder: {tmp_path}}}]"
    code, out, err = train(
        "video_finetune", f"model.start={tiny_folder}", data, f"run.folder={tmp_path / 'run'}",
        *more,
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("videollama2: ")
    assert said in err
    assert not (tmp_path / "run" / "model").exists()


def no_work(*_: object, **__: object) -> None:
    raise AssertionError("a model was read")


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
