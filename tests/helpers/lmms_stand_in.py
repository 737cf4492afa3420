"""What our plug-in touches of lmms-eval, as lmms-eval 0.7.3 has it: for tests without it.

Read there: `api/model.py` (lmms), `api/instance.py` (GenerationResult, TokenCounts, Instance),
`models/registry_v2.py` (ModelManifest), `protocol.py` (ChatMessages' blocks), and of `datasets`
what it hands to `process_docs`. The real one was put to the same use by hand: docs/lmms-eval.md.
"""

from __future__ import annotations

import abc
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest


class lmms(abc.ABC):  # noqa: N801
    is_simple: bool = True

    def __init__(self) -> None:
        self._rank = 0
        self._world_size = 1
        self.cache_hook = CacheHook()
        self.task_dict: dict[str, Any] = {}

    @abc.abstractmethod
    def loglikelihood(self, requests): ...

    @abc.abstractmethod
    def generate_until(self, requests): ...

    @abc.abstractmethod
    def generate_until_multi_round(self, requests): ...


class CacheHook:
    def __init__(self) -> None:
        self.kept: list[tuple[str, Any, str]] = []

    def add_partial(self, attr: str, req: Any, res: str) -> None:
        self.kept.append((attr, req, res))


@dataclass
class TokenCounts:
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass
class GenerationResult:
    text: str
    token_counts: TokenCounts | None = None


@dataclass
class Instance:
    request_type: str
    arguments: tuple[Any, ...]
    idx: int
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def args(self) -> tuple[Any, ...]:
        return self.arguments


@dataclass(frozen=True)
class ModelManifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None
    aliases: tuple[str, ...] = ()


class Dataset(list[dict[str, Any]]):
    @classmethod
    def from_list(cls, rows: list[dict[str, Any]]) -> Dataset:
        return cls(rows)


_MODULES: dict[str, dict[str, Any]] = {
    "lmms_eval": {},
    "lmms_eval.api": {},
    "lmms_eval.api.model": {"lmms": lmms},
    "lmms_eval.api.instance": {"GenerationResult": GenerationResult, "TokenCounts": TokenCounts},
    "lmms_eval.models": {},
    "lmms_eval.models.registry_v2": {"ModelManifest": ModelManifest},
    "datasets": {"Dataset": Dataset},
}


def put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `import lmms_eval` find this, for one test."""
    for name, content in _MODULES.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "videollama2.evaluation.lmms_eval.model", raising=False)
