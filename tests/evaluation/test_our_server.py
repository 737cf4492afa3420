"""Our own server with the starter as the judge and as the answerer, over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import Says, chat_server, in_turn
from miniatures import miniatures
from served import Served, served
from stubs import StubAnswerer, reference
from typer.testing import CliRunner

from videollama2.assistant import VideoLlama2
from videollama2.cli.main import app
from videollama2.evaluation.client import ChatClient
from videollama2.evaluation.judge import Judge, VerdictFile
from videollama2.evaluation.registry import find
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.verdicts import schema_of

JUDGED = ("msvd_qa", "video_chatgpt", "msvc")


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["eval", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def lay_out(data: Path, *names: str) -> Path:
    for name in names:
        miniatures()[name].lay_out(data, find(name).folder)
    return data


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def starter() -> VideoLlama2:
    return VideoLlama2.from_pretrained("starter", device="cpu")


@pytest.fixture(scope="module")
def server(starter: VideoLlama2) -> Iterator[Served]:
    with served(starter, "starter") as one:
        yield one


def test_judges(server: Served, tiny_folder: Path, tmp_path: Path) -> None:
    """Every verdict in the fixed form, none asked twice, the same again at temperature 0."""
    data = lay_out(tmp_path / "data", *JUDGED)
    long = json.loads((data / "msvc/msvc.json").read_text(encoding="utf-8"))
    long[0]["captions"] = ["a very long caption " * 2000]
    (data / "msvc/msvc.json").write_text(json.dumps(long), encoding="utf-8")
    given = [
        *JUDGED, "--model", tiny_folder, "--data", data, "--max-new-tokens", 4,
        "--judge-url", server.url, "--judge-model", "starter",
    ]  # fmt: skip
    before = server.answered()
    code, table, err = run(*given, "--out", tmp_path / "one")
    assert code == 0, err
    assert "not judged" not in table
    assert err.count("in a fixed JSON form") == len(JUDGED)
    assert "MSVC: 1 answers the judge gave no usable verdict on" in err
    asked, kept = server.answered() - before, 0
    for name in JUDGED:
        texts = [line["text"] for line in lines_of(tmp_path / "one" / name / "verdicts.jsonl")]
        forms = [schema_of(judgement)["properties"] for judgement in find(name).judgements]
        for text in texts:
            values = json.loads(text)
            assert set(values) in [set(form) for form in forms]
            assert values.get("pred", "no") in ("yes", "no")
            assert values["score"] in range(6)
        kept += len(texts)
    assert kept >= 8
    assert asked == kept + 4  # two verdicts too long to ask for, each also tried in words alone

    assert run(*given, "--out", tmp_path / "one")[1] == table
    assert server.answered() - before == asked + 4  # what failed is asked again, nothing else
    assert run(*given, "--out", tmp_path / "two")[1] == table
    for name in JUDGED:
        one, two = (
            {line["key"]: line["text"] for line in lines_of(tmp_path / out / name / file)}
            for out in ("one", "two")
            for file in ["verdicts.jsonl"]
        )
        assert one == two


def test_a_judge_that_comes_back_is_waited_for(starter: VideoLlama2, tmp_path: Path) -> None:
    """Ended after its first verdict and started again: judging goes on by itself."""
    task = find("video_chatgpt")
    questions = read_questions(task, lay_out(tmp_path / "data", task.name), Choice())
    answered = StubAnswerer(reference).answer(questions, Choice().decoding(task))
    replies = {reply.id: reply for reply in answered}
    path = tmp_path / "verdicts.jsonl"
    first_verdict, result = threading.Event(), {}

    def heard(done: int, total: int) -> None:
        if done:
            first_verdict.set()

    def judge(url: str) -> None:
        client = ChatClient(url, "starter", attempts=30, first_wait_s=0.2)
        judging = Judge(client, workers=1)
        result.update(judging.judge(task, questions, replies, VerdictFile(path), heard))

    with served(starter, "starter") as one:
        thread = threading.Thread(target=judge, args=(one.url,))
        thread.start()
        assert first_verdict.wait(120)
        one.kill()
        assert thread.is_alive()
    with served(starter, "starter", one.port):
        thread.join(200)
    assert not thread.is_alive()
    verdicts = [verdict for found in result.values() for verdict in found.values()]
    assert len(verdicts) == len(lines_of(path)) >= 4
    assert all(verdict.failure is None for verdict in verdicts)


ANSWERED = ("mvbench", "videomme_subtitles", "music_avqa", "clotho_aqa", "tut2017", "msvd_qa")


def test_answers_as_the_same_model_here_does(server: Served, tmp_path: Path) -> None:
    """Ranges, folders of frames, subtitles, sound heard with the clip or alone: the same words."""
    data = lay_out(tmp_path / "data", *ANSWERED)
    given = [*ANSWERED, "--model", "starter", "--data", data, "--batch-size", 4]
    for options in ([], ["--num-frames", 4, "--max-new-tokens", 16, "--limit", 9]):
        here, there = (tmp_path / f"{where}{len(options)}" for where in ("here", "there"))
        code, table, err = run(*given, *options, "--out", here, "--device", "cpu")
        assert code == 0, err
        code, served_table, err = run(*given, *options, "--out", there, "--endpoint", server.url)
        assert code == 0, err
        assert served_table == table
        for name in ANSWERED:
            one, other = (lines_of(out / name / "samples.jsonl") for out in (here, there))
            assert [row["answers"] for row in one] == [row["answers"] for row in other]
            for mine, theirs in zip(one, other, strict=True):
                assert mine["prompts"] == theirs["prompts"]
                assert (mine["failure"] or {}).get("kind") == (theirs["failure"] or {}).get("kind")
                assert mine["prompt_tokens"] == theirs["prompt_tokens"]
                heard = [[medium["sound_s"] for medium in row["media"]] for row in (mine, theirs)]
                assert heard[0] == heard[1]
        settings = [json.loads((out / "mvbench/run.json").read_text()) for out in (here, there)]
        assert settings[0] == settings[1]
        assert settings[0]["num_frames"] == (4 if options else 8)


def test_a_peer_beside_ours_in_one_table(server: Served, tmp_path: Path) -> None:
    data = lay_out(tmp_path / "data", "clotho_aqa")
    common = ["clotho_aqa", "--data", data]
    ours, peer = tmp_path / "ours", tmp_path / "peer"
    assert run(*common, "--endpoint", server.url, "--model", "starter", "--out", ours)[0] == 0
    with chat_server(in_turn([Says("no")])) as other:
        code, _, err = run(*common, "--endpoint", other.url, "--model", "qwen", "--out", peer)
    assert code == 0, err
    code, table, err = run("--compare", ours, peer)
    assert code == 0, err
    assert "A is starter" in err
    assert "B is qwen" in err
    header, first = (line.split("\t") for line in table.splitlines()[:2])
    row = dict(zip(header, first, strict=True))
    assert (row["benchmark"], row["metric"], row["B"]) == ("Clotho-AQA", "accuracy", "33.3")


def test_a_model_that_is_not_served(server: Served, tmp_path: Path) -> None:
    data = lay_out(tmp_path / "data", "clotho_aqa")
    given = ["clotho_aqa", "--data", data, "--out", tmp_path / "out", "--endpoint", server.url]
    code, _, err = run(*given, "--model", "nobody")
    assert code == 1
    assert "no such model" in err
    assert "a model that it serves" in err
    assert not list(tmp_path.glob("out/*/replies-0.jsonl"))
