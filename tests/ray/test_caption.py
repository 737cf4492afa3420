"""Clips captioned on a Ray cluster: the rows of one machine, whatever dies."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from crowd import BAD, GOOD, many
from dying import DyingModel
from typer.testing import CliRunner

from videollama2.cli.main import app
from videollama2.scale.captioner import Asking
from videollama2.scale.clips import Clip
from videollama2.scale.cluster import Cluster, caption_on_cluster
from videollama2.scale.errors import BulkError
from videollama2.scale.intake import ReadSettings
from videollama2.scale.work import ModelSettings, Work

QUICK = ("--max-new-tokens", "5", "--readers", "1")
READING, ANSWERING = "MapBatches(Reading)", "MapBatches(Answering)"

pytestmark = [pytest.mark.timeout(1200), pytest.mark.usefixtures("cluster")]


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["caption", *map(str, arguments)])
    return done.exit_code, done.stderr


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def captioned(model: ModelSettings, clips: list[Clip], **more: Any) -> Iterator[dict[str, Any]]:
    work = Work(model, Asking(**{"max_new_tokens": 5, **more}), ReadSettings())
    for rows in caption_on_cluster(Cluster("local", 2, 1), work, clips):
        yield from rows
    for of in (READING, ANSWERING):
        wait_for_the_end(of)  # also of those that were started again, though we stay connected


def processes(of: str) -> dict[int, str]:
    """This cluster's processes that do such work now: what each is called."""
    found: dict[int, str] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            name = " ".join(process.cmdline())
            if of in name:
                found[process.pid] = name
    return found


def wait_for_the_end(of: str, apart_from: set[int] | None = None) -> None:
    """Until no process does such work, apart from those that did before."""
    deadline = time.monotonic() + 60
    while left := set(processes(of)) - (apart_from or set()):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


class Killer(threading.Thread):
    """Kills the first process that is found at such work, then notes whether others come."""

    def __init__(self, of: str) -> None:
        super().__init__(daemon=True)
        self.of, self.killed, self.before = of, 0, set[int]()
        self.came, self.ended = set[int](), False

    def run(self) -> None:
        while not self.ended:
            found = processes(self.of)
            at_work = [pid for pid, name in found.items() if "submit" in name]
            if not self.killed and at_work:
                self.before, self.killed = set(found), at_work[0]
                psutil.Process(self.killed).kill()
            elif self.killed:
                self.came |= set(found) - self.before
            time.sleep(0.02)


def test_rows_are_those_of_one_machine(
    crowd: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as shard:
        shard.add(crowd / "a.mp4", "in.mp4")
    monkeypatch.chdir(crowd)  # names are relative, and a cluster's processes are elsewhere
    lines = [{"clip": name} for name in (*GOOD, *BAD, "none.mp4")]
    lines += [{"clip": "a.mp4", "start": 1, "end": 2, "question": "What?"}]
    Path("list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Path("s.tar").write_bytes((tmp_path / "s.tar").read_bytes())
    for given in ("list.jsonl", "s.tar"):
        words = (given, "--model", tiny_folder, *QUICK)
        here, there = tmp_path / f"here-{given}.jsonl", tmp_path / f"there-{given}.jsonl"
        assert run(*words, here)[0] == 0
        code, said = run(*words, there, "--ray", "local", "--workers", 2)
        assert code == 0, said
        assert len(rows_of(there)) == len({row["clip"] for row in rows_of(there)})
        assert {row["clip"]: row for row in rows_of(there)} == {
            row["clip"]: row for row in rows_of(here)}  # fmt: skip


@pytest.mark.parametrize(("victim", "rows_first"), [(READING, 0), (ANSWERING, 1)])
def test_a_killed_actor_costs_no_clip(
    victim: str, rows_first: int, crowd: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """It had clips in hand: Ray starts another, which does them again."""
    folder = many(crowd, tmp_path / "many", 160)
    clips = [Clip(path.name, str(path)) for path in sorted(folder.iterdir())]
    killer = Killer(victim)
    if not rows_first:
        killer.start()
    seen: list[str] = []
    for row in captioned(ModelSettings(str(tiny_folder)), clips, max_new_tokens=30):
        seen.append(row["clip"])
        assert row["failure"] is None
        if len(seen) == rows_first:
            killer.start()
    killer.ended = True
    killer.join()
    assert killer.killed
    assert killer.came
    assert sorted(seen) == [clip.id for clip in clips]


def test_a_clip_that_kills_is_lost_alone(crowd: Path, tiny_folder: Path, tmp_path: Path) -> None:
    names = ["a.mp4", "b/c.mp4", "picture.png", "tone.wav", "silent.mp4"]
    clips = [Clip(name, str(crowd / name)) for name in names]
    rows = list(captioned(DyingModel(str(tiny_folder), once=tmp_path / "died"), clips))
    assert (tmp_path / "died").exists()
    assert sorted(row["clip"] for row in rows) == sorted(names)
    (lost,) = [row for row in rows if row["failure"]]
    assert (lost["clip"], lost["failure"]) == ("picture.png", "lost")


def test_a_killed_run_goes_on(cluster: Any, crowd: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """By the cluster's address, from another process, which is killed."""
    given, out = many(crowd, tmp_path / "many", 200), tmp_path / "o.jsonl"
    words = [given, out, "--model", tiny_folder, "--max-new-tokens", 30,
             "--workers", 1, "--readers", 1]  # fmt: skip
    address, before = cluster.get_runtime_context().gcs_address, set(processes(ANSWERING))
    process = subprocess.Popen(
        [sys.executable, "-m", "videollama2", "caption", *map(str, words), "--ray", address],
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 300
    while not (out.exists() and out.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    left = out.read_bytes().count(b"\n")
    assert left < 200
    code, said = run(*words)  # without Ray: rows do not depend on where they are made
    assert code == 0
    assert f"{left} of 200 rows are there" in said
    assert sorted(row["clip"] for row in rows_of(out)) == [f"{n:03}.mp4" for n in range(200)]
    wait_for_the_end(ANSWERING, before)  # a run's processes end with it


def test_a_model_that_is_not_there_is_said(crowd: Path, tmp_path: Path) -> None:
    with pytest.raises(BulkError, match="none"):
        list(captioned(ModelSettings(str(tmp_path / "none")), [Clip("a", str(crowd / "a.mp4"))]))
