"""The client against a real HTTP server that is busy, broken, silent, garbled or strict."""

from __future__ import annotations

import pytest
from chat_server import Says, chat_server, in_turn

from videollama2.evaluation.client import ChatClient, RequestRefusedError
from videollama2.evaluation.errors import EvaluationError, ServerError

HELLO = [{"role": "user", "content": "hello"}]


def test_a_completion_and_its_count() -> None:
    with chat_server(in_turn([Says("hi «ü»")])) as server:
        done = ChatClient(server.url, "m", key="secret").complete(HELLO, temperature=0)
    assert (done.text, done.prompt_tokens, done.generated_tokens) == ("hi «ü»", 11, 3)
    assert server.requests == [{"model": "m", "messages": HELLO, "temperature": 0}]
    assert server.headers[0]["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "trouble",
    [
        Says(status=429, body='{"error": {"message": "slow down"}}'),
        Says(status=500, body="<html>oops</html>"),
        Says(status=503),
        Says(body="{not json"),
        Says(body='{"choices": []}'),
        Says(body='{"choices": [{"message": {"content": null}}]}'),
        Says(body="[]"),
        Says("late", delay_s=0.8),
    ],
)
def test_what_passes_is_tried_again(trouble: Says) -> None:
    slept: list[float] = []
    with chat_server(in_turn([trouble, trouble, Says("at last")])) as server:
        client = ChatClient(server.url, "m", key="", timeout_s=0.3, sleep=slept.append)
        assert client.complete(HELLO).text == "at last"
    assert slept == [1, 2]
    assert "authorization" not in server.headers[0]


def test_a_server_that_says_nothing_of_its_models() -> None:
    """It answers questions all the same: most peers list no more than names."""
    with chat_server(in_turn([Says("x")])) as server:  # it knows no GET
        assert ChatClient(server.url, "m").card() == {}


def test_waits_as_long_as_the_server_says_but_not_for_ever() -> None:
    slept: list[float] = []
    troubles = [
        Says(status=429, headers={"retry-after": "7"}),
        Says(status=429, headers={"retry-after": "100000"}),
        Says(status=429, headers={"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        Says("ok"),
    ]
    with chat_server(in_turn(troubles)) as server:
        ChatClient(server.url, "m", sleep=slept.append).complete(HELLO)
    assert slept == [7, 60, 4]


def test_a_server_that_is_down() -> None:
    with chat_server(in_turn([Says("x")])) as server:
        url = server.url
    client = ChatClient(url, "m", attempts=3, sleep=lambda s: None)
    with pytest.raises(ServerError, match=r"cannot be reached .*3 times.*run the same command"):
        client.complete(HELLO)


def test_always_busy_ends() -> None:
    with chat_server(in_turn([Says(status=429, body='{"message": "later"}')])) as server:
        client = ChatClient(server.url, "m", attempts=4, sleep=lambda s: None)
        with pytest.raises(ServerError, match="429: later, 4 times"):
            client.complete(HELLO)
    assert len(server.requests) == 4


@pytest.mark.parametrize(("status", "remedy"), [(401, "OPENAI_API_KEY"), (404, "up to /v1")])
def test_what_does_not_pass_is_said_at_once(status: int, remedy: str) -> None:
    with (
        chat_server(in_turn([Says(status=status, body="no")])) as server,
        pytest.raises(ServerError, match=remedy),
    ):
        ChatClient(server.url, "m").complete(HELLO)
    assert len(server.requests) == 1


def test_one_request_refused() -> None:
    with (
        chat_server(in_turn([Says(status=400, body='{"error": "too\\nlong"}')])) as server,
        pytest.raises(RequestRefusedError, match="the server says 400: too long"),
    ):
        ChatClient(server.url, "m").complete(HELLO)
    assert len(server.requests) == 1


def test_addresses() -> None:
    whole = "http://h:1/v1/chat/completions"
    assert ChatClient("http://h:1/v1/", "m").url == ChatClient(whole, "m").url == whole
    with pytest.raises(EvaluationError, match="this is no address"):
        ChatClient("localhost:8000", "m")


def test_key_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k1")
    with chat_server(in_turn([Says("x")])) as server:
        ChatClient(server.url, "m").complete(HELLO)
    assert server.headers[0]["authorization"] == "Bearer k1"
