"""A model behind our own server: real HTTP on a port of this machine, served by a thread."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2

from videollama2.assistant import VideoLlama2
from videollama2.serving.address import listen
from videollama2.serving.lifecycle import Server
from videollama2.serving.service import Service
from videollama2.serving.settings import ServerSettings


@dataclass
class Served:
    """`url` up to /v1."""

    server: Server
    thread: threading.Thread
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def answered(self) -> int:
        """Requests for completions that it has answered so far, refusals too."""
        page = httpx2.get(f"http://127.0.0.1:{self.port}/metrics", timeout=60).text
        found = re.findall(r'requests_total\{route="/v1/chat/completions".*\} (\S+)', page)
        return int(sum(map(float, found)))

    def kill(self) -> None:
        """End it at once, whatever is under way."""
        self.server.config.timeout_graceful_shutdown = 0
        self.server.should_exit = True
        self.thread.join(60)
        assert not self.thread.is_alive()


@contextmanager
def served(model: VideoLlama2, name: str, port: int = 0) -> Iterator[Served]:
    """Start it, by default on a free port, wait until it answers, and end it."""
    service = Service(lambda: model, ServerSettings(model_name=name, readers=1))
    bound = listen("127.0.0.1", port)
    ready = threading.Event()
    server = Server(service, ready.set)

    async def serve() -> None:
        await server._serve([bound])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    one = Served(server, thread, bound.getsockname()[1])
    thread.start()
    try:
        deadline = time.monotonic() + 300
        while not ready.wait(0.05):
            assert service.worker.failure is None, service.worker.failure
            assert time.monotonic() < deadline
        yield one
    finally:
        one.kill()
