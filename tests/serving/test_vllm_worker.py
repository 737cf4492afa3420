"""The thread that owns vLLM, with an engine in vLLM's place that does as it is told."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from videollama2.assistant import VideoLlama2
from videollama2.engines.vllm.online import EngineDiedError, Piece
from videollama2.engines.vllm.prompt import VllmPrompt
from videollama2.generation.settings import SamplingSettings
from videollama2.media_cache import MediaCache
from videollama2.serving.metrics import Metrics
from videollama2.serving.settings import ServerSettings
from videollama2.serving.vllm_worker import VllmWorker
from videollama2.serving.worker import Failed, Job

PATIENCE_S = 120


class StandIn:
    """Choice 0 fails after a token where `fails`; every other goes on until it is ended."""

    longest = 1000

    def __init__(self, assistant: VideoLlama2) -> None:
        self.processor = assistant.processor
        self.tokenizer = assistant.tokenizer
        self.model = SimpleNamespace(config=assistant.model.config)
        self.stop_ids = frozenset({0})
        self.fails = self.died = self.closed = False
        self.ended: list[str] = []

    def prompt(self, messages: Any) -> VllmPrompt:
        return VllmPrompt({}, 3)

    async def write(self, prompt: Any, settings: Any, name: str, **_: Any) -> AsyncIterator[Piece]:
        yield Piece((40,), (), "stop" if name == "first" else None)
        if name == "first":
            return
        if self.fails and name.endswith("-0"):
            raise RuntimeError("as it was told")
        try:
            while True:
                await asyncio.sleep(0.01)
                yield Piece((41,), (), None)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)  # vLLM, too, has something to do then
            self.ended.append(name)
            raise

    def check(self) -> None:
        if self.died:
            raise EngineDiedError

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def engine(tiny_folder: Any) -> StandIn:
    return StandIn(VideoLlama2.from_pretrained(tiny_folder))


@pytest.fixture
def worker(engine: StandIn) -> Iterator[Any]:
    loaded = threading.Event()
    settings = ServerSettings(model_name="tiny")
    metrics = Metrics()
    thread: Any = VllmWorker(
        lambda: engine,  # type: ignore[arg-type,return-value]
        settings,
        MediaCache(1),
        metrics,
        lambda _: loaded.set(),
    )
    thread.metrics = metrics
    thread.start()
    assert loaded.wait(PATIENCE_S), thread.failure
    yield thread
    thread.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert engine.closed


def job(emit: Callable[[Any], None], choices: int) -> Job:
    messages = [{"role": "user", "content": ["?"]}]
    return Job(messages, [], SamplingSettings(100), None, choices, emit)


def test_where_one_choice_fails_the_others_end(worker: Any, engine: StandIn) -> None:
    engine.fails = True
    events: queue.Queue[Any] = queue.Queue()
    worker.submit(job(events.put, 3))
    while not isinstance(events.get(timeout=PATIENCE_S), Failed):
        pass
    assert len(engine.ended) == 2
    assert events.empty()


def test_a_request_is_ended_once(worker: Any, engine: StandIn) -> None:
    """Asked again, vLLM would be interrupted while it ends the request."""
    events: queue.Queue[Any] = queue.Queue()
    one = job(events.put, 2)
    worker.submit(one)
    for _ in range(3):
        events.get(timeout=PATIENCE_S)
    one.cancel()
    while worker.rows:
        threading.Event().wait(0.05)
    assert len(engine.ended) == 2
    assert worker.metrics.cancelled._value.get() == 2


def test_where_the_engine_dies_the_server_ends(worker: Any, engine: StandIn) -> None:
    engine.died = True
    worker.join(PATIENCE_S)
    assert isinstance(worker.failure, EngineDiedError)
