"""An OpenAI-compatible server of chat completions that says what a test wants, over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Says:
    """One reply: a completion's text, or whatever body, status, headers and delay."""

    text: str = ""
    status: int = 200
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0

    @property
    def payload(self) -> bytes:
        if self.body is not None:
            return self.body.encode()
        choice = {"message": {"role": "assistant", "content": self.text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 11, "completion_tokens": 3}
        return json.dumps({"choices": [choice], "usage": usage}).encode()


Script = Callable[[dict[str, Any]], Says]


def in_turn(replies: Sequence[Says]) -> Script:
    """These replies in turn, the last one for ever."""
    waiting = list(replies)
    return lambda request: waiting.pop(0) if len(waiting) > 1 else waiting[0]


@dataclass
class ChatServer:
    """`url` up to /v1; `requests` are the bodies received, `headers` what came with them."""

    url: str
    requests: list[dict[str, Any]]
    headers: list[dict[str, str]]


@contextmanager
def chat_server(script: Script) -> Iterator[ChatServer]:
    seen: list[dict[str, Any]] = []
    headers: list[dict[str, str]] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                seen.append(body)
                headers.append({name.lower(): value for name, value in self.headers.items()})
                reply = script(body)
            if self.path != "/v1/chat/completions":
                reply = Says(status=404, body="no such page")
            time.sleep(reply.delay_s)
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(reply.payload)))
                self.end_headers()
                self.wfile.write(reply.payload)
            except OSError:  # the client has given up
                return

        def log_message(self, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield ChatServer(f"http://127.0.0.1:{server.server_port}/v1", seen, headers)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
