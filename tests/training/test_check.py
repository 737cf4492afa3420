"""Lists and files read before training does it: what is wrong is found, nothing else is."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from videollama2.checkpoints.load import load_processor
from videollama2.cli.main import app
from videollama2.training.check import CheckOptions, Findings, check_lists, key_of
from videollama2.training.collate import RowMaker
from videollama2.training.data import iterate_list
from videollama2.training.errors import TrainingError
from videollama2.training.inspection import Inspection, Reading, inspect_medium
from videollama2.training.labels import ChatEncoder
from videollama2.training.lengths import Lengths
from videollama2.training.recipe import DataFile
from videollama2.training.records import ReadOptions, read_records

KINDS = {".mp4": "video", ".mkv": "video", ".wav": "audio", ".png": "image", ".gif": "video"}


def record(name: str, **more: Any) -> dict[str, Any]:
    kind = KINDS.get(Path(name).suffix)
    question = f"<{kind}>\nWhat?" if kind else "What?"
    talk = [{"from": "human", "value": question}, {"from": "gpt", "value": "This."}]
    return {"id": name or "text", "conversations": talk, **({kind: name} if kind else {}), **more}


GOOD = ("clip.mp4", "tone.wav", "picture.png", "silent.mp4", "other.mp4", "", "clip.mp4")
BAD = {
    "garbage.mp4": "damaged",
    "cut.mkv": "truncated",
    "empty.mp4": "empty",
    "none.mp4": "missing",
    "picture.mp4": "wrong kind of medium",
}


@pytest.fixture(scope="module")
def folder(media_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("check") / "media"
    shutil.copytree(media_folder, copy)
    shutil.copy(copy / "picture.png", copy / "picture.mp4")
    with wave.open(str(copy / "quiet.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.zeros(16_000, "<i2").tobytes())
    return copy


@pytest.fixture(scope="module")
def listed(folder: Path) -> Path:
    """Good and bad records, one broken line among them."""
    rows = [json.dumps(record(name)) for name in (*GOOD, *BAD)]
    rows += [
        json.dumps(record("clip.mp4", conversations=record("clip.mp4")["conversations"][:1])),
        json.dumps({**record("clip.mp4"), "conversations": record("")["conversations"]}),
        json.dumps({"conversations": record("clip.mp4")["conversations"]}),
        json.dumps({**record("clip.mp4"), "video": "picture.png"}),
        "{broken",
        json.dumps(record("")),
    ]
    path = folder.parent / "records.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return path


def checked(file: DataFile, **options: Any) -> Findings:
    report = options.pop("report", None)
    given = CheckOptions(**{"workers": 1, "num_frames": 8, **options})
    return check_lists([lambda: iterate_list(file)], given, report=report)


def test_what_is_wrong_is_found(listed: Path, folder: Path) -> None:
    findings = checked(DataFile(path=str(listed), folder=str(folder)))
    found = {(entry.line, entry.problem) for entry in findings.bad()}
    lines = {len(GOOD) + 1 + index: problem for index, problem in enumerate(BAD.values())}
    first = len(GOOD) + len(BAD) + 1
    lines |= {
        first: "odd turns",
        first + 1: "medium without placeholder",
        first + 2: "placeholder without medium",
        first + 3: "wrong kind of medium",
        first + 4: "no JSON",
    }
    assert found == set(lines.items())
    assert findings.notes() == {"no soundtrack": 1}
    assert len(findings.media) == len({*GOOD, *BAD} - {""})
    assert findings.kinds()["video"] == 4 + len(BAD)
    assert all("\n" not in entry.reason for entry in findings.bad())


def test_what_is_well_is_what_training_takes(listed: Path, folder: Path, tiny_folder: Path) -> None:
    """Each record found well makes a row, each file found bad does not; lengths agree."""
    processor: Any = load_processor(tiny_folder)
    maker = RowMaker(processor, ChatEncoder(processor))
    good = folder.parent / "good.jsonl"
    report = folder.parent / "fresh.jsonl"
    done = CliRunner().invoke(
        app,
        ["data", "check", str(listed), "--folder", str(folder), "--workers", "1",
         "--write-good", str(good), "--model", str(tiny_folder), "--out", str(report)],
    )  # fmt: skip
    assert done.exit_code == 1
    assert "10 of 18 records cannot be used" in done.stderr
    kept = good.read_text().splitlines()
    assert [json.loads(line)["id"] for line in kept] == [name or "text" for name in (*GOOD, "")]
    records = read_records(good, ReadOptions(folder))
    rows = [maker.make(one) for one in records]
    assert f"tokens   {sum(len(row.ids) for row in rows)} in all" in done.stdout
    summary = json.loads(report.read_text().splitlines()[-1])["summary"]
    assert summary == {"records": 18, "bad": 10, "media": 10}


def test_token_lengths(listed: Path, folder: Path, tiny_folder: Path, tmp_path: Path) -> None:
    """One by one, in both media modes, with and without soundtrack."""
    path = tmp_path / "some.jsonl"
    path.write_text("\n".join(json.dumps(record(name)) for name in GOOD))
    processor: Any = load_processor(tiny_folder)
    for mode in ("native", "released"):
        processor.feature_extractor.media_mode = mode
        lengths = Lengths(processor, ChatEncoder(processor))
        findings = check_lists(
            [lambda: iterate_list(DataFile(path=str(path), folder=str(folder)))],
            CheckOptions(num_frames=lengths.num_frames, workers=1),
            on_record=lengths.note,
        )
        maker = RowMaker(processor, lengths.encoder)
        expected = [len(maker.make(r).ids) for r in read_records(path, ReadOptions(folder))]
        assert lengths.counts(findings) == expected


def test_goes_on_where_it_was(
    listed: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.jsonl"
    file = DataFile(path=str(listed), folder=str(folder))
    whole = checked(file, report=report)
    lines = report.read_text().splitlines()
    report.write_text("\n".join(lines[:6]) + '\n{"medium": "unfin')  # killed in the middle
    (folder / "clip.mp4").touch()  # changed since
    again = checked(file, report=report)
    assert 3 <= again.taken_over <= 5
    assert again.media == whole.media
    assert [e.problem for e in again.bad()] == [e.problem for e in whole.bad()]
    last = checked(file, report=report)
    assert last.taken_over == len(whole.media) - 1  # what is missing is looked for again
    with pytest.raises(TrainingError, match="choose another --out"):
        checked(file, report=report, num_frames=4)


def test_sound_that_is_wanted(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text(json.dumps([record("silent.mp4"), record("quiet.wav"), record("clip.mp4")]))
    wanted = checked(DataFile(path=str(path), folder=str(folder), sound=True))
    assert [(e.id, e.problem) for e in wanted.bad()] == [("silent.mp4", "no sound")]
    assert wanted.notes() == {"silent": 1}
    deaf = checked(DataFile(path=str(path), folder=str(folder), sound=False))
    assert not deaf.bad()
    strict = checked(
        DataFile(path=str(path), folder=str(folder)), refuse=frozenset({"silent", "no soundtrack"})
    )
    assert {e.problem for e in strict.bad()} == {"silent", "no soundtrack"}
    with pytest.raises(TrainingError, match="cannot be refused"):
        CheckOptions(refuse=frozenset({"loud"}))


def test_headers(listed: Path, folder: Path) -> None:
    quick = checked(DataFile(path=str(listed), folder=str(folder)), headers=True)
    whole = checked(DataFile(path=str(listed), folder=str(folder)))
    assert [(e.line, e.problem) for e in quick.bad()] == [(e.line, e.problem) for e in whole.bad()]
    assert inspect_medium(Reading("image", str(folder / "clip.mp4"), headers=True)).problem
    assert inspect_medium(Reading("audio", str(folder / "silent.mp4"), headers=True)) == Inspection(
        "no sound", f"{folder / 'silent.mp4'}: it has no audio stream"
    )


def test_sound_shorter_than_the_pictures(tmp_path: Path) -> None:
    clips.write_video(tmp_path / "both.mp4", 4.0, sound_s=1.0)
    found = inspect_medium(Reading("video", str(tmp_path / "both.mp4")))
    assert (found.problem, found.notes) == ("", ("sound shorter than pictures",))
    within = inspect_medium(Reading("video", str(tmp_path / "both.mp4"), end=1.0))
    assert within.notes == ()


def test_an_animation_is_a_video(tmp_path: Path) -> None:
    pictures = [Image.fromarray(frame) for frame in clips.frames(4)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    assert inspect_medium(Reading("video", str(tmp_path / "a.gif"))).problem == ""
    pictures[0].save(tmp_path / "b.gif")
    assert inspect_medium(Reading("video", str(tmp_path / "b.gif"))).problem


def test_ctrl_c_keeps_what_was_done(folder: Path, tmp_path: Path) -> None:
    path, report = tmp_path / "many.jsonl", tmp_path / "report.jsonl"
    rows = [json.dumps(record("clip.mp4", start=i * 0.001)) for i in range(3000)]
    path.write_text("\n".join(rows))
    process = subprocess.Popen(
        [sys.executable, "-m", "videollama2", "data", "check", str(path), "--folder", str(folder),
         "--out", str(report), "--workers", "1"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (
        not report.exists() or report.read_text().count("\n") < 4
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert all("medium" in line for line in lines[1:])
    assert len(lines) > 3


def test_same_medium(folder: Path) -> None:
    from videollama2.processing.parts import VideoInput

    assert key_of(VideoInput("a.mp4")) == key_of(VideoInput("a.mp4"))
    others = [
        VideoInput("b.mp4"), VideoInput("a.mp4", 1.0), VideoInput("a.mp4", end=1.0),
        VideoInput("a.mp4", num_frames=4), VideoInput("a.mp4", sound=False),
    ]  # fmt: skip
    assert len({key_of(one) for one in (VideoInput("a.mp4"), *others)}) == 6


def test_wrong_usage(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(app, ["data", "check"]).exit_code == 2
    absent = run(app, ["data", "check", str(tmp_path / "none.json")])
    assert absent.exit_code == 1
    assert "no such list" in absent.stdout
    assert run(app, ["data", "check", "--recipe", "lora"]).exit_code == 2
