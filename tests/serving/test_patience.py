"""Connections whose other end is slow: they are closed, and others are answered meanwhile."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from videollama2.serving import gate, lifecycle
from videollama2.serving.address import listen

REQUEST = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def closed_port(serve: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server on a socket that wants a key."""
    monkeypatch.setattr(lifecycle, "create_app", lambda service: gate.Gate(endless, service))
    yield from on_a_socket(serve(api_key="right").service)


@pytest.fixture
def port(ask: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The tiny model's server on a socket, its patience short; the service outlives it."""
    monkeypatch.setattr(lifecycle, "_HEADERS_S", 0.5)
    monkeypatch.setattr(lifecycle, "_TAKING_S", 0.5)
    monkeypatch.setattr(lifecycle, "create_app", lambda _: endless)
    yield from on_a_socket(ask.service)


def on_a_socket(service: Any) -> Iterator[int]:
    server = lifecycle.Server(service, lambda: None)
    bound = listen("127.0.0.1", 0)
    thread = threading.Thread(target=lambda: asyncio.run(lifecycle._serve(server, bound)))
    thread.start()
    yield bound.getsockname()[1]
    server.should_exit = True
    thread.join(30)


async def endless(scope: Any, receive: Any, send: Any) -> None:
    """`/health/live` is answered at once, `/endless` without an end."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
    while scope["path"] == "/endless" and ENDED.append(1) is None and len(ENDED) < 100_000:
        await send({"type": "http.response.body", "body": b"a" * 65_536, "more_body": True})
        if await gone(receive):
            ENDED.append(-1)
            return
    await send({"type": "http.response.body", "body": b""})


ENDED: list[int] = []


async def gone(receive: Any) -> bool:
    try:
        async with asyncio.timeout(0.001):
            return (await receive())["type"] == "http.disconnect"
    except TimeoutError:
        return False


def closes(wire: socket.socket) -> bool:
    wire.settimeout(20)
    try:
        while wire.recv(65_536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("first", [b"", REQUEST])
@pytest.mark.parametrize("part", [b"", b"GET / HT", REQUEST[:-2] + b"X: a\r\n"])
def test_headers_that_do_not_end(port: int, first: bytes, part: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        wire.sendall(first)
        if first:
            assert b" 200 " in wire.recv(4096)
        wire.sendall(part)
        assert closes(wire)


def test_an_answer_that_nobody_takes(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        wire.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        deadline = time.monotonic() + 20
        while ENDED[-1:] != [-1]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        wire.sendall(REQUEST)
        assert b" 200 " in wire.recv(4096)


@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"])
def test_a_refusal_reaches_a_client_that_is_still_sending(closed_port: int, expects: bytes) -> None:
    size = 40 * 1024**2  # more than the sockets on the way hold
    with socket.create_connection(("127.0.0.1", closed_port), timeout=20) as wire:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n"
        wire.sendall(head.encode() + expects + b"\r\n")
        wire.sendall(b"{" * size)
        answer = b""
        while piece := wire.recv(65_536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.endswith(b"}")
    assert b"invalid_api_key" in answer


def test_sending_without_an_end_after_a_refusal(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_LINGER_S", 0.2)
    with socket.create_connection(("127.0.0.1", closed_port), timeout=20) as wire:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n"
        wire.sendall(head.encode())
        with pytest.raises(ConnectionError):
            send_until(wire, time.monotonic() + 20)


def send_until(wire: socket.socket, deadline: float) -> None:
    while time.monotonic() < deadline:
        wire.sendall(b"{" * 65_536)
