"""`videollama2 eval`: listed, prepared, run, resumed, judged, compared; in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chat_server import Says, chat_server, in_turn
from miniatures import miniatures
from typer.testing import CliRunner

from videollama2.cli.main import app
from videollama2.evaluation.registry import all_tasks, find
from videollama2.evaluation.run import Choice, read_questions

COMMAND = [sys.executable, "-m", "videollama2", "eval"]


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["eval", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def lay_out(data: Path, *names: str) -> Path:
    for name in names:
        miniatures()[name].lay_out(data, find(name).folder)
    return data


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_list_is_a_line_a_benchmark() -> None:
    code, out, _ = run("--list")
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert [row[0] for row in rows] == list(all_tasks())
    assert all(len(row) == 8 for row in rows)
    assert ["mvbench", "MVBench", "4,000", "video", "accuracy", "test"] in [row[:6] for row in rows]


def test_list_loads_nothing_heavy() -> None:
    words = [sys.executable, "-X", "importtime", "-m", "videollama2", "eval", "--list"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=250)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert not {"torch", "transformers", "av", "pyarrow"} & loaded


def test_prepare(tmp_path: Path) -> None:
    data = lay_out(tmp_path / "data", "egoschema")
    code, out, _ = run("egoschema", "--prepare", "--data", data, "--split", "subset")
    assert code == 1
    assert "questions.json\there\t" in out
    assert "good_clips_git/\there, 3 entries\t" in out
    assert "3 questions, 1 without their media\n    missing: cc-3" in out
    (data / "egoschema/good_clips_git/cc-3.mp4").write_bytes(b"x")
    assert run("egoschema", "--prepare", "--data", data, "--split", "subset")[0] == 0
    code, out, _ = run("egoschema", "--prepare", "--data", tmp_path / "none")
    assert "questions.json\tMISSING\t" in out
    assert "subset_answers.json\tfor split subset\t" in out
    code, out, _ = run("mlvu", "--prepare", "--data", tmp_path / "none", "--split", "test")
    assert (out.count("for split dev"), out.count("MISSING")) == (14, 2)
    code, _, err = run("mlvu", "--prepare", "--data", tmp_path / "none", "--split", "train")
    assert code != 0
    assert "it has dev, test" in err
    code, out, _ = run("mvbench", "--prepare", "--data", data)
    assert code == 1
    assert "json/action_sequence.json\tMISSING" in out
    assert "cannot be asked" in out
    assert "no such file" in out


@pytest.mark.parametrize("name", ["clotho_aqa", "music_avqa", "avsd", "vggsound"])
def test_prepare_wants_the_media_where_the_list_says(name: str, tmp_path: Path) -> None:
    """The authors' list says where its media lie: no other folder is missing then."""
    task, data = find(name), lay_out(tmp_path / "data", name)
    folder = next(file.path for file in task.files if file.path.endswith("/"))
    list_ = next(file.path for file in task.files if file.optional)
    assert (data / task.folder / list_).is_file()
    shutil.rmtree(data / task.folder / folder, ignore_errors=True)
    code, out, _ = run(name, "--prepare", "--data", data)
    assert "MISSING" not in out
    assert (code == 0) == (", 0 without their media" in out)


def test_prepare_is_not_done_while_a_file_is_missing(tmp_path: Path) -> None:
    """Without subtitles each question can be asked, and is another one."""
    data = lay_out(tmp_path / "data", "videomme_subtitles")
    folder = data / "videomme"
    shutil.rmtree(folder / "subtitles")
    for one in read_questions(find("videomme"), data, Choice()):
        (folder / "videos").mkdir(exist_ok=True)
        (folder / "videos" / f"{one.cluster}.mp4").touch()
    code, out, _ = run("videomme_subtitles", "--prepare", "--data", data)
    assert "subtitles/\tMISSING" in out
    assert code == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say which benchmarks"),
        (["mvbnech", "--data", "x"], "Did you mean mvbench?"),
        (["mvbench"], "--data"),
        (["mvbench", "--data", "x"], "--out"),
        (["mvbench", "--data", "x", "--out", "y", "--judge-url", "z"], "go together"),
        (["--compare", "x"], "two runs"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_an_out_that_is_no_folder(tmp_path: Path) -> None:
    data, file = lay_out(tmp_path / "data", "clotho_aqa"), tmp_path / "file"
    file.write_text("mine")
    with chat_server(in_turn([Says("Yes.")])) as server:
        code, out, err = run(
            "clotho_aqa", "--data", data, "--out", file, "--endpoint", server.url, "--model", "peer"
        )
    assert (code, out) == (1, "")
    assert f"{file}/clotho_aqa: Not a directory" in err
    assert "Traceback" not in err
    assert file.read_text() == "mine"


def test_files_that_are_not_there(tmp_path: Path) -> None:
    code, _, err = run("mvbench", "--data", tmp_path, "--out", tmp_path / "out")
    assert code == 1
    assert "action_sequence.json: no such file" in err
    assert "Traceback" not in err
    code, _, err = run("--compare", tmp_path, tmp_path)
    assert code == 1
    assert "holds no scored benchmark" in err


def test_a_run_with_its_reports(tiny_folder: Path, tmp_path: Path) -> None:
    """Answered without a judge, resumed with nothing to do, then only judged, then compared."""
    data = lay_out(tmp_path / "data", "mvbench", "msvd_qa")
    out = tmp_path / "out"
    given = [
        "mvbench", "msvd_qa", "--model", tiny_folder, "--data", data, "--out", out,
        "--max-new-tokens", 4, "--device", "cpu",
    ]  # fmt: skip
    code, table, err = run(*given)
    assert code == 0, err
    rows = [line.split("\t") for line in table.splitlines()]
    assert rows[0] == ["benchmark", "metric", "released", "strict", "published", "questions"]
    assert [row[:2] for row in rows[1:]] == [
        ["MVBench", "accuracy"],
        ["MSVD-QA", "accuracy"],
        ["MSVD-QA", "score"],
    ]
    assert rows[2][2] == "not judged (2)"
    assert "2 missing (their media are not there)" in err
    samples = lines_of(out / "mvbench" / "samples.jsonl")
    assert len(samples) == len({one["id"] for one in samples}) == 40
    page = (out / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 4
    assert "<script" not in page
    assert "http" not in page.replace("https://", "").partition("<h2>")[0]
    before = (out / "msvd_qa" / "replies-0.jsonl").read_bytes()
    assert run(*given)[1] == table
    assert (out / "msvd_qa" / "replies-0.jsonl").read_bytes() == before

    with chat_server(in_turn([Says('{"pred": "no", "score": 1}')])) as server:
        judged = [*given, "--judge-url", server.url, "--judge-model", "wise"]
        code, table, err = run(*judged)
    assert code == 0, err
    assert len(server.requests) == 2
    assert "MSVD-QA\tscore\t1.00 [1.00, 1.00]\t0.67" in table
    assert "Judged by wise at temperature 0" in err
    assert "22 tokens read and 6 written" in err
    # The judge is gone and what it said is kept: with it named or not, the figures stay.
    assert run(*given)[1] == table
    report = json.loads((out / "report.json").read_text())
    assert report["msvd_qa"]["judge"]["model"] == "wise"
    assert report["mvbench"]["settings"]["max_new_tokens"] == 4
    assert report["mvbench"]["published"]["accuracy"]["VideoLLaMA2-72B"] == 62.0
    markdown = (out / "report.md").read_text()
    assert "| task | Action Count | accuracy |" in markdown

    code, table, err = run("--compare", out, out, "--scoring", "strict")
    assert code == 0
    row = next(line for line in table.splitlines() if line.startswith("MVBench\tall"))
    assert row.split("\t")[7:] == ["+0.0 [+0.0, +0.0]", "unclear", "40"]


def test_a_judge_that_is_down_leaves_the_answers(tiny_folder: Path, tmp_path: Path) -> None:
    data, out = lay_out(tmp_path / "data", "msvd_qa", "clotho_aqa"), tmp_path / "out"
    with chat_server(in_turn([Says(status=401, body="who are you")])) as server:
        code, table, err = run(
            "msvd_qa", "clotho_aqa", "--model", tiny_folder, "--data", data, "--out", out,
            "--max-new-tokens", 3, "--judge-url", server.url, "--judge-model", "wise",
        )  # fmt: skip
    assert code == 1
    assert "not judged (2)" in table
    assert "Clotho-AQA\taccuracy\t" in table
    assert "Judging stopped" in err
    assert "401: who are you" in err
    assert (out / "report.md").is_file()


def test_another_run_s_folder_is_left_alone(tiny_folder: Path, tmp_path: Path) -> None:
    data, out = lay_out(tmp_path / "data", "clotho_aqa"), tmp_path / "out"
    given = ["clotho_aqa", "--model", tiny_folder, "--data", data, "--out", out]
    assert run(*given, "--max-new-tokens", 2)[0] == 0
    code, _, err = run(*given, "--max-new-tokens", 3)
    assert code == 1
    assert "answers of another run (max_new_tokens 2)" in err


def test_through_a_server(tmp_path: Path) -> None:
    data, out = lay_out(tmp_path / "data", "clotho_aqa"), tmp_path / "out"
    with chat_server(in_turn([Says("Yes.")])) as server:
        code, table, err = run(
            "clotho_aqa", "--endpoint", server.url, "--model", "peer", "--data", data, "--out", out
        )
    assert code == 0, err
    assert table.splitlines()[1].split("\t")[2].startswith("33.3 [")
    assert len(server.requests) == 3


def wait_for(path: Path, lines: int) -> None:
    ended = time.monotonic() + 200
    while time.monotonic() < ended:
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} has no {lines} lines")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_and_run_again(
    how: signal.Signals, tiny_folder: Path, tmp_path: Path
) -> None:
    """The rows are those of an undisturbed run, none twice."""
    data = lay_out(tmp_path / "data", "mvbench")
    common = [
        "mvbench", "--model", tiny_folder, "--data", data, "--max-new-tokens", 30, "--limit", 12,
        "--batch-size", 1, "--device", "cpu",
    ]  # fmt: skip
    words = [*COMMAND, *map(str, common), "--out", str(tmp_path / "cut")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    rows = tmp_path / "cut" / "mvbench" / "replies-0.jsonl"
    wait_for(rows, 3)
    process.send_signal(how)
    _, err = process.communicate(timeout=100)
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert b"Traceback" not in err
    done = rows.read_bytes().count(b"\n")
    assert 3 <= done < 12
    assert run(*common, "--out", tmp_path / "cut")[0] == 0
    assert run(*common, "--out", tmp_path / "whole")[0] == 0
    cut, whole = (
        lines_of(tmp_path / one / "mvbench" / "samples.jsonl") for one in ("cut", "whole")
    )
    for row in (*cut, *whole):
        del row["timings_ms"]
    assert cut == whole
    assert rows.read_bytes().count(b"\n") == 12
    for report in ("report.md", "report.json", "report.html"):
        assert (tmp_path / "cut" / report).read_bytes() == (
            tmp_path / "whole" / report
        ).read_bytes()


def test_two_processes(tiny_folder: Path, tmp_path: Path) -> None:
    """As torchrun and `accelerate launch` start them: each asks its share, one reports all."""
    data = lay_out(tmp_path / "data", "mvbench", "msvd_qa")
    common = [
        "mvbench", "msvd_qa", "--model", tiny_folder, "--data", data, "--max-new-tokens", 4,
        "--limit", 12,
    ]  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [*COMMAND, *map(str, common), "--out", str(tmp_path / "two")],
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=250) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[1] == ("", "")
    assert "[transformers]" not in outputs[0][1]
    assert "MVBench\taccuracy\t" in outputs[0][0]
    counts = [
        len(lines_of(tmp_path / "two" / "mvbench" / f"replies-{rank}.jsonl")) for rank in range(2)
    ]
    assert sum(counts) == 12
    assert min(counts) == 6
    assert run(*common, "--out", tmp_path / "one")[0] == 0
    for name in ("mvbench", "msvd_qa"):
        two, one = (lines_of(tmp_path / run_ / name / "samples.jsonl") for run_ in ("two", "one"))
        for row in (*two, *one):
            del row["timings_ms"]
        assert two == one
    # With another number of processes the same folder is still finished.
    assert run(*common, "--out", tmp_path / "two")[1] == outputs[0][0]
