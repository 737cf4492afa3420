"""The documented launch on a Ray cluster: two processes give what one gives, also when one dies."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from videollama2.cli.main import app

pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("cluster")]
STEPS = 6


def settings(folder: Path, records: Path, model: Path) -> list[str]:
    return [
        f"model.start={model}", f"run.folder={folder}",
        f"data.files=[{{path: {records}, folder: {records.parent}}}]",
        "model.num_frames=8", "data.ratio=null", "data.workers=0", "batch.total=4",
        "batch.per_device=2", f"optimizer.epochs={STEPS}", "run.save_every=1",
        "optimizer.precision=float32",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def records(crowd: Path) -> Path:
    names = ("a.mp4", "silent.mp4", "b/c.mp4", "a.mp4")
    rows = [
        {"id": n, "video": name, "conversations": [
            {"from": "human", "value": f"<video>\nWhat is {n}?"},
            {"from": "gpt", "value": f"It is {n}."}]}
        for n, name in enumerate(names)
    ]  # fmt: skip
    (crowd / "records.json").write_text(json.dumps(rows))
    return crowd / "records.json"


def train(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["train", "video_finetune", *words])
    return done.exit_code, done.stdout, done.stderr


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, records: Path, tiny_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    assert train(*settings(folder, records, tiny_folder))[0] == 0
    return folder


def test_two_processes(
    alone: Path, records: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are relative to where the command was given."""
    monkeypatch.chdir(tmp_path)
    words = [*settings(Path("run"), records, tiny_folder), "parallel.kind=fsdp2"]
    code, out, err = train(*words, "--ray", "local", "--processes", "2")
    assert code == 0, err
    assert out == f"{tmp_path}/run/model\n"
    assert (tmp_path / "run/model/model.safetensors").is_file()
    assert len(losses(tmp_path / "run")) == STEPS
    assert losses(tmp_path / "run") == pytest.approx(losses(alone), rel=1e-5)


def test_a_process_that_is_killed(
    alone: Path, records: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """Ray starts both again, and they go on from the last checkpoint."""
    folder = tmp_path / "run"
    killed: list[int] = []

    def kill_one() -> None:
        while not list(folder.glob("checkpoint-*")):
            time.sleep(0.02)
        workers = [
            process for process in psutil.Process().children(recursive=True)
            if "RayTrainWorker" in " ".join(process.cmdline())
        ]  # fmt: skip
        workers[-1].kill()
        killed.append(len(workers))

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    words = settings(folder, records, tiny_folder)
    code, _, err = train(*words, "--ray", "local", "--processes", "2")
    killer.join(10)
    assert code == 0, err
    assert killed == [2]
    assert losses(folder) == pytest.approx(losses(alone), rel=1e-5)


def test_what_is_wrong_is_said(records: Path, tiny_folder: Path, tmp_path: Path) -> None:
    words = settings(tmp_path / "run", records, tiny_folder)
    code, _, err = train(*words, "--ray", "local", "--processes", "3")
    assert (code, err.count("\n")) == (2, 1)
    assert "3 devices cannot share 4 evenly" in err
