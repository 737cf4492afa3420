"""A row for each clip, whatever the clip is and whatever dies."""

from __future__ import annotations

import errno
import json
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet
import pysubs2
import pytest
from crowd import BAD, GOOD, many
from dying import DyingModel
from typer.testing import CliRunner

from videollama2.assistant import VideoLlama2
from videollama2.cli.main import app
from videollama2.generation.batch import ContinuousBatch
from videollama2.reading.pool import prepare
from videollama2.scale.captioner import Asking
from videollama2.scale.clips import Clip, Failure
from videollama2.scale.crew import NEEDS, caption_in_crew
from videollama2.scale.errors import BulkError
from videollama2.scale.intake import ReadSettings
from videollama2.scale.output import Output
from videollama2.scale.rows import failed
from videollama2.scale.work import ModelSettings, Work
from videollama2.storage.lines import GrowingFile

QUICK = ("--max-new-tokens", "5", "--readers", "1")


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["caption", *map(str, arguments)])
    return done.exit_code, done.stderr


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_clip_is_one_row_and_the_same_again_does_nothing(
    crowd: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    out, questions = tmp_path / "o.jsonl", tmp_path / "q.txt"
    questions.write_text("What is seen?\n\nWhat is heard?\n")
    words = (crowd, out, "--model", tiny_folder, "--questions", questions, *QUICK)
    code, said = run(*words)
    assert code == 0, said
    rows = {row["clip"]: row for row in rows_of(out)}
    assert sorted(rows) == sorted((*GOOD, *BAD))
    assert len(rows_of(out)) == len(rows)
    assert {name for name, row in rows.items() if row["failure"]} == set(BAD)
    assert all(rows[name]["failure"] == "unreadable" and rows[name]["reason"] for name in BAD)
    assert rows["silent.mp4"]["notes"] == ["It has no soundtrack."]
    assert "2 of 7 clips could not be answered" in said
    model = VideoLlama2.from_pretrained(tiny_folder)
    for name in GOOD:
        texts = ("What is seen?", "What is heard?")
        asked = [model.ask(text, media=[crowd / name], max_new_tokens=5) for text in texts]
        assert rows[name]["answers"] == [str(answer) for answer in asked]
    before = out.read_bytes()
    assert run(*words)[0] == 0
    assert out.read_bytes() == before
    code, said = run(crowd, out, "--model", tiny_folder, "--prompt", "Other?", *QUICK)
    assert code == 1
    assert "of another run" in said


def test_parquet_and_srt(crowd: Path, tiny_folder: Path, tmp_path: Path) -> None:
    clips = tmp_path / "l.jsonl"
    lines = [{"clip": str(crowd / "a.mp4"), "start": 1, "end": 2, "id": "v#t=1,2"},
             {"clip": str(crowd / "a.mp4"), "start": 0, "end": 1, "id": "v#t=0,1"},
             {"clip": str(crowd / "b/c.mp4"), "id": "../../etc/x"},
             {"clip": "none.mp4"}]  # fmt: skip
    clips.write_text("".join(json.dumps(line) + "\n" for line in lines))
    table, folder = tmp_path / "o.parquet", tmp_path / "srt"
    assert run(clips, table, "--model", tiny_folder, *QUICK)[0] == 0
    read = pyarrow.parquet.read_table(table).to_pylist()
    assert {row["clip"] for row in read} == {"v#t=1,2", "v#t=0,1", "../../etc/x", "none.mp4"}
    assert [row["failure"] for row in read if row["clip"] == "none.mp4"] == ["missing"]
    assert run(clips, folder, "--model", tiny_folder, "--format", "srt", *QUICK)[0] == 0
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.srt")) == [
        "etc/x.srt", "v.srt"]  # fmt: skip
    cues = pysubs2.load(str(folder / "v.srt"))
    assert [(cue.start, cue.end) for cue in cues] == [(0, 1000), (1000, 2000)]


def test_inputs_and_outputs_that_cannot_be_used(
    crowd: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    (tmp_path / "mine.jsonl").write_text('{"my": "file"}\n')
    for given, out, words, code in [
        (tmp_path / "empty", "o.jsonl", "there is no clip", 1),
        (tmp_path / "bad.parquet", "o.jsonl", "no Parquet", 1),
        (crowd, "o.csv", "choose jsonl, parquet or srt", 2),
        (crowd, "mine.jsonl", "not this command's", 1),
        (crowd, "empty", "it is a folder", 1),
    ]:
        ended, said = run(given, tmp_path / out, "--model", tiny_folder)
        assert (ended, words in said) == (code, True), said
    assert (tmp_path / "mine.jsonl").read_text() == '{"my": "file"}\n'


def test_a_full_disk_is_said_and_what_is_there_stays(
    crowd: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(GrowingFile, "append", full)
    words = (crowd, tmp_path / "o.jsonl", "--model", tiny_folder, "--limit", 1, *QUICK)
    code, said = run(*words)
    assert code == 1
    assert "the disk is full" in said
    monkeypatch.undo()
    assert run(*words)[0] == 0
    assert len(rows_of(tmp_path / "o.jsonl")) == 1


def test_two_runs_at_once_are_refused(crowd: Path, tmp_path: Path) -> None:
    with Output(tmp_path / "o.jsonl", "jsonl", {"a": 1}) as output:
        output.add([failed(Clip("x", "x"), ("?",), Failure("missing", "gone"))] * 2)
        with pytest.raises(BulkError, match="another run is writing"):
            Output(tmp_path / "o.jsonl", "jsonl", {"a": 1})
    assert len(rows_of(tmp_path / "o.jsonl")) == 1


# --- what dies ---


def test_a_run_that_is_killed_goes_on(crowd: Path, tiny_folder: Path, tmp_path: Path) -> None:
    given, out = many(crowd, tmp_path / "many", 24), tmp_path / "o.jsonl"
    words = [given, out, "--model", tiny_folder, "--max-new-tokens", 60, "--readers", 1,
             "--batch-tokens", 1]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "videollama2", "caption", *map(str, words)],
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not (out.exists() and out.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    left = out.read_bytes().count(b"\n")
    assert left < 24
    with out.open("ab") as file:
        file.write(b'{"clip": "half a li')
    code, said = run(*words)
    assert code == 0
    assert f"{left} of 24 rows are there" in said
    assert sorted(row["clip"] for row in rows_of(out)) == [f"{n:03}.mp4" for n in range(24)]


def test_ctrl_c_keeps_what_is_there(
    crowd: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (crowd, tmp_path / "o.jsonl", "--model", tiny_folder, "--batch-tokens", 1, *QUICK)
    inner, calls = ContinuousBatch.join, iter(range(10))

    def interrupted(*values: Any) -> Any:
        if next(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return inner(*values)

    monkeypatch.setattr(ContinuousBatch, "join", interrupted)
    assert run(*words)[0] == 130
    assert len(rows_of(tmp_path / "o.jsonl")) >= 2
    monkeypatch.undo()
    assert run(*words)[0] == 0
    assert len({row["clip"] for row in rows_of(tmp_path / "o.jsonl")}) == 7
    assert len(rows_of(tmp_path / "o.jsonl")) == 7


def work(model: ModelSettings) -> Work:
    return Work(model, Asking(max_new_tokens=5), ReadSettings(readers=1))


def captioned(works: list[Work], clips: list[Clip]) -> Iterator[dict[str, Any]]:
    for rows in caption_in_crew(works, iter(clips)):
        yield from rows


def test_processes_that_die_cost_no_clip_but_the_one_to_blame(
    crowd: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    prepare(*NEEDS)
    names = ["a.mp4", "b/c.mp4", "picture.png", "tone.wav", "silent.mp4"]
    clips = [Clip(f"{n}-{name}", str(crowd / name)) for n in range(2) for name in names]
    clips = [clip for clip in clips if clip.id != "1-picture.png"]
    before = set(multiprocessing.active_children())  # other tests' servers read on
    rows = list(captioned([work(DyingModel(str(tiny_folder), once=tmp_path / "died"))] * 2, clips))
    assert (tmp_path / "died").exists()
    assert sorted(row["clip"] for row in rows) == sorted(clip.id for clip in clips)
    (lost,) = [row for row in rows if row["failure"]]
    assert (lost["clip"], lost["failure"]) == ("0-picture.png", "lost")
    assert "SIGKILL" in lost["reason"]
    assert set(multiprocessing.active_children()) <= before


def test_a_model_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BulkError, match="none"):
        list(captioned([work(ModelSettings(str(tmp_path / "none")))] * 2, [Clip("a", "a.mp4")]))
