"""The judge against a server: fixed form or words alone, failures, what is kept and counted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from chat_server import Says, Script, chat_server, in_turn
from miniatures import miniatures
from stubs import StubAnswerer, reference

from videollama2.evaluation import judge_prompts
from videollama2.evaluation.client import ChatClient
from videollama2.evaluation.errors import ServerError
from videollama2.evaluation.judge import Judge, VerdictFile, known_verdicts
from videollama2.evaluation.registry import find
from videollama2.evaluation.replies import Reply
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.task import Question

TASK = find("activitynet_qa")
YES = '{"pred": "yes", "score": 5}'


@pytest.fixture
def asked(tmp_path: Path) -> tuple[list[Question], dict[str, Reply]]:
    data = miniatures()[TASK.name].lay_out(tmp_path / "data", TASK.folder)
    questions = read_questions(TASK, data, Choice())
    replies = StubAnswerer(reference).answer(questions, Choice().decoding(TASK))
    return questions, {reply.id: reply for reply in replies}


def judge_of(url: str, said: list[str] | None = None, **settings: Any) -> Judge:
    client = ChatClient(url, "wise", attempts=2, sleep=lambda s: None)
    return Judge(client, say=(said if said is not None else []).append, **settings)


def test_asks_once_in_the_released_words_and_a_fixed_form(
    asked: tuple[list[Question], dict[str, Reply]], tmp_path: Path
) -> None:
    path = tmp_path / "verdicts.jsonl"
    progress: list[tuple[int, int]] = []
    with chat_server(in_turn([Says(YES)])) as server:
        judge = judge_of(server.url)
        found = judge.judge(TASK, *asked, VerdictFile(path), lambda *n: progress.append(n))
        again = judge.judge(TASK, *asked, VerdictFile(path))
    assert len(server.requests) == 2  # the third question has no video, so no answer
    assert progress == [(0, 2), (1, 2), (2, 2)]
    assert set(found) == set(again) == {"39", "two_3"}
    first, second = found["39"]["match"], again["39"]["match"]
    assert (first.score, first.yes, first.cached, second.cached) == (5, True, False, True)
    assert (first.prompt_tokens, second.generated_tokens) == (11, 3)
    request = next(one for one in server.requests if "who is" in one["messages"][1]["content"])
    assert (request["temperature"], request["max_tokens"], request["model"]) == (0, 800, "wise")
    assert request["response_format"]["json_schema"]["schema"]["required"] == ["pred", "score"]
    expected = judge_prompts.ask_match(asked[0][0], ["woman"])
    assert [one["content"] for one in request["messages"]] == [expected.system, expected.user]


def test_a_server_that_takes_no_form(
    asked: tuple[list[Question], dict[str, Reply]], tmp_path: Path
) -> None:
    def script(request: dict[str, Any]) -> Says:
        if "response_format" in request:
            return Says(status=400, body='{"error": "response_format is not supported"}')
        return Says("Sure: {'pred': 'no', 'score': 1}")

    said: list[str] = []
    with chat_server(script) as server:
        judge = judge_of(server.url, said, workers=1)
        found = judge.judge(TASK, *asked, VerdictFile(tmp_path / "v.jsonl"))
    assert [one["match"].yes for one in found.values()] == [False, False]
    assert len(said) == 1
    assert "response_format is not supported" in said[0]
    assert len(server.requests) == 3  # refused once, then asked in words alone
    assert not judge.structured


def test_a_reply_that_cannot_be_read_is_asked_again_then_counted(
    asked: tuple[list[Question], dict[str, Reply]], tmp_path: Path
) -> None:
    path = tmp_path / "v.jsonl"

    def script(request: dict[str, Any]) -> Says:
        dancing = "dancing" in request["messages"][1]["content"]
        return Says(YES if dancing and request["seed"] == 2 else "I cannot say.")

    with chat_server(script) as server:
        found = judge_of(server.url).judge(TASK, *asked, VerdictFile(path))
    assert len(server.requests) == 6
    assert found["39"]["match"].score == 5
    assert found["39"]["match"].prompt_tokens == 33
    failed = found["two_3"]["match"]
    assert failed.score is None
    assert "cannot be read" in (failed.failure or "")
    assert failed.scores(TASK.judgements[0]) == {}
    with chat_server(in_turn([Says(YES)])) as server:  # a failure is not kept
        found = judge_of(server.url).judge(TASK, *asked, VerdictFile(path))
    assert len(server.requests) == 1
    assert found["two_3"]["match"].score == 5


def test_one_request_refused_is_a_failure_of_that_one(
    asked: tuple[list[Question], dict[str, Reply]], tmp_path: Path
) -> None:
    def script(request: dict[str, Any]) -> Says:
        refused = "ünder" in request["messages"][1]["content"]
        return Says(status=400, body="content filter") if refused else Says(YES)

    said: list[str] = []
    with chat_server(script) as server:
        judge = judge_of(server.url, said)
        found = judge.judge(TASK, *asked, VerdictFile(tmp_path / "v.jsonl"))
    assert found["39"]["match"].score == 5
    assert "400: content filter" in (found["two_3"]["match"].failure or "")
    assert judge.structured
    assert said == []


def test_a_judge_that_goes_down_keeps_what_it_said(
    asked: tuple[list[Question], dict[str, Reply]], tmp_path: Path
) -> None:
    path = tmp_path / "v.jsonl"
    script: Script = in_turn([Says(YES), Says(status=503)])
    with chat_server(script) as server, pytest.raises(ServerError, match="503"):
        judge_of(server.url, workers=1).judge(TASK, *asked, VerdictFile(path))
    file = VerdictFile(path)
    assert file.last_judge == "wise"
    assert len(known_verdicts(TASK, *asked, file, "wise")) == 1
    assert known_verdicts(TASK, *asked, file, "another") == {}
    path.write_bytes(path.read_bytes()[:-7])  # killed while writing
    with chat_server(in_turn([Says(YES)])) as server:
        found = judge_of(server.url).judge(TASK, *asked, VerdictFile(path))
    assert len(found) == len(server.requests) == 2
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({line["key"] for line in lines}) == 2


# Hashes of system + "\n" + user as the released scripts build them, for question "Q ü", answer
# "A", prediction "P"; for consistency Q1, Q2, A, P1, P2.
RELEASED = {
    "match": "f41b44ff938c98a0",
    "correctness": "f21717ece2e95006",
    "detail": "4006e335b973dfd8",
    "context": "ae5863692714c77f",
    "temporal": "8b99b573efc6a5a0",
    "consistency": "ab4acc999af8c55c",
}


@pytest.mark.parametrize("name", RELEASED)
def test_prompts_are_the_released_ones_to_the_letter(name: str) -> None:
    question = Question("x", ("Q1", "Q2"), (), ("A",), details={"question": "Q ü"})
    if name == "consistency":
        prompt = judge_prompts.ask_consistency(question, ["P1", "P2"])
    elif name == "match":
        prompt = judge_prompts.ask_match(question, ["P"])
    else:
        prompt = getattr(judge_prompts, name.upper()).ask(question, ["P"])
    text = f"{prompt.system}\n{prompt.user}".encode()
    assert hashlib.sha256(text).hexdigest()[:16] == RELEASED[name]
