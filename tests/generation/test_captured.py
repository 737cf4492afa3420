"""What only a GPU runs, on a stand-in: a graph that records torch's operations and runs them again.

A replay takes no Python code: what a step reads has to be where it was when it was recorded, and
nothing in it may wait for the host, or the stand-in fails as CUDA would.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import prompts
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from videollama2.generation import encode
from videollama2.generation.batch import BatchRow, ContinuousBatch
from videollama2.generation.prompt import Prompt
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.stops import banned_token_ids
from videollama2.processing.parts import LoadedMedia

SETTINGS = SamplingSettings(max_new_tokens=14)
aten = torch.ops.aten
WAITS = (aten._local_scalar_dense, aten.nonzero, aten.equal, aten.is_nonzero, aten.masked_select)


class Watch(TorchDispatchMode):
    """Notes every operation, and how many make the host wait."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Any]]] = []
        self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.waits += func.overloadpacket in WAITS
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, tree_leaves(out)))
        return out


class Graph:
    """As `torch.cuda.CUDAGraph`."""

    recorded: list[Graph] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.watch = Watch()
        self.replays = 0

    def pool(self) -> str:
        return "pool"

    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, outs in self.watch.calls:
            for old, new in zip(outs, tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and not _same_memory(old, new):
                    old.copy_(new)


def _same_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stand-ins for what is used of `torch.cuda`; gives what was asked of it, in order."""
    asked: list[Any] = []

    def stream(name: str) -> Any:
        return SimpleNamespace(
            name=name, wait_stream=lambda other: asked.append(("wait", name, other.name))
        )

    @contextmanager
    def record(graph: Graph, pool: Any, stream: Any, capture_error_mode: str) -> Any:
        Graph.recorded.append(graph)
        with graph.watch:
            yield
        assert graph.watch.waits == 0, "a capture must not wait for the host"

    @contextmanager
    def on(which: Any) -> Any:
        asked.append(("on", which.name))
        yield
        asked.append(("off", which.name))

    def whichever(device: torch.device) -> Any:  # no default: the current GPU may be another
        return nullcontext(device)

    monkeypatch.setattr(Graph, "recorded", [])
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", record)
    monkeypatch.setattr(torch.cuda, "device", whichever)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream("beside"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream("here"))
    return asked


def answers(batch: ContinuousBatch, given: list[Prompt]) -> list[list[int]]:
    """Of prompts that join one after the other."""
    rows = [BatchRow(prompt, SETTINGS) for prompt in given]
    for row in rows:
        batch.join([row])
        batch.step()
    while batch.step():
        pass
    return [row.tokens for row in rows]


@pytest.mark.parametrize("lag", [0, 1])
def test_replayed_steps_answer_as_launched_ones(
    cuda: list[Any], tiny_model: Any, tiny_tokenizer: Any, lag: int
) -> None:
    given = prompts.mixed(tiny_model, tiny_tokenizer)
    banned = banned_token_ids(tiny_model)
    launched = ContinuousBatch(tiny_model, banned_ids=banned)
    captured = ContinuousBatch(tiny_model, banned_ids=banned, capture=True, lag=lag)
    assert answers(captured, given) == answers(launched, given)
    assert sum(graph.replays for graph in Graph.recorded) >= SETTINGS.max_new_tokens - 1
    assert len(Graph.recorded) < sum(graph.replays for graph in Graph.recorded)


def test_no_step_waits_for_the_host(tiny_model: Any, tiny_tokenizer: Any) -> None:
    batch = ContinuousBatch(tiny_model, banned_ids=banned_token_ids(tiny_model), lag=1)
    for prompt in prompts.mixed(tiny_model, tiny_tokenizer)[:2]:
        batch.join([BatchRow(prompt, SETTINGS)])
    batch.step()
    watch = Watch()
    with watch:
        for _ in range(5):
            batch.step()
    assert watch.calls
    assert watch.waits == 0


class _Encoders:
    """A model of which only its device is asked."""

    device = torch.device("cuda", 1)


def test_the_sound_does_not_wait_for_the_pictures(
    cuda: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def encoded(_: Any, kind: str, tensor: torch.Tensor) -> Any:
        cuda.append(kind)
        kept = SimpleNamespace(record_stream=lambda on: cuda.append(("kept for", on.name)))
        return SimpleNamespace(features=kept)

    monkeypatch.setattr(encode, "encode_medium", encoded)
    encode._second_stream.cache_clear()
    report: Any = None
    loaded = LoadedMedia("video", torch.ones(1), torch.ones(1), report)
    encode.encode_media(_Encoders(), loaded)
    encode._second_stream.cache_clear()
    assert cuda == [
        ("wait", "beside", "here"),
        "video",
        ("on", "beside"),
        "audio",
        ("off", "beside"),
        ("wait", "here", "beside"),
        ("kept for", "here"),
    ]
