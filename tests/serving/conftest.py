"""A tiny model being served, in this process; `ask` speaks to it as a client would."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from videollama2.assistant import VideoLlama2
from videollama2.serving.app import create_app
from videollama2.serving.service import Service
from videollama2.serving.settings import MediaRules, ServerSettings


class Client:
    """Requests to an application without a network."""

    def __init__(self, service: Service, app: Any = None) -> None:
        self.service = service
        self.app = app or create_app(service)

    def __call__(
        self, path: str = "/v1/chat/completions", body: Any = None, **options: Any
    ) -> httpx2.Response:
        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(app=self.app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
                if body is None and not options.get("content"):
                    return await client.get(path, **options)
                return await client.post(path, json=body, timeout=60, **options)

        return asyncio.run(send())

    def chat(self, *content: Any, **fields: Any) -> httpx2.Response:
        """One question: texts and parts."""
        parts = [{"type": "text", "text": p} if isinstance(p, str) else p for p in content]
        messages = [{"role": "user", "content": parts}]
        return self(body={"messages": messages, "max_tokens": 6, **fields})


def wait_until_ready(service: Service) -> None:
    deadline = time.monotonic() + 200
    while not service.is_ready:
        assert service.worker.failure is None, service.worker.failure
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="session")
def serve(tiny_folder: Path) -> Iterator[Callable[..., Client]]:
    """Make a server of the tiny model; further ones share its model but nothing else."""
    loaded = VideoLlama2.from_pretrained(tiny_folder)
    services: list[Service] = []

    def make(**settings: Any) -> Client:
        service = Service(lambda: loaded, ServerSettings(model_name="tiny", **settings))
        service.start()
        services.append(service)
        wait_until_ready(service)
        return Client(service)

    yield make
    for service in services:
        service.stop()


@pytest.fixture(scope="session")
def ask(serve: Callable[..., Client], media_folder: Path) -> Client:
    """The server most tests talk to; it may read files of the media folder."""
    return serve(media=MediaRules(local_root=media_folder, max_items=3), readers=1)


def data_uri(file: Path, kind: str = "video/mp4") -> str:
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


@pytest.fixture(scope="session")
def clip(media_folder: Path) -> dict[str, Any]:
    """A video with sound as a content part."""
    return {"type": "video_url", "video_url": {"url": data_uri(media_folder / "clip.mp4")}}


@pytest.fixture(scope="session")
def sound(media_folder: Path) -> dict[str, Any]:
    data = base64.b64encode((media_folder / "tone.wav").read_bytes()).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
