"""vLLM behind a server of ours: many answers at once, piece by piece."""

# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from videollama2.engines.vllm.missing import need_vllm
from videollama2.engines.vllm.prompt import Room, VllmPrompt, prompt_of
from videollama2.engines.vllm.settings import EngineOptions, sampling_params, stop_ids
from videollama2.generation.logprobs import TokenLogprobs
from videollama2.generation.settings import SamplingSettings


class EngineDiedError(RuntimeError):
    """vLLM's engine has ended; there will be no more answers."""

    def __init__(self) -> None:
        super().__init__("vLLM's engine has died, what it said stands above: start again")


@dataclass(frozen=True)
class Piece:
    """Tokens that were written since the last piece, without the stop token."""

    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...]
    finish_reason: str | None


class OnlineEngine:
    """A checkpoint of any layout in vLLM, made and used within one event loop.

    It has what a server asks of a loaded model: `processor`, `tokenizer`, and `model.config`.

    Raises:
        MissingVllmError: vLLM is not installed.
        CheckpointError: there is no such checkpoint.
    """

    def __init__(self, model: str, options: EngineOptions | None = None) -> None:
        need_vllm()
        # A process that has threads already is not to be copied.
        os.environ.setdefault("VLLM_WORKER_MULTIPROCESSING_METHOD", "spawn")
        from vllm.config import StructuredOutputsConfig
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from videollama2.engines.vllm.plugin import register
        from videollama2.engines.vllm.tokenizer import processor_of

        register()
        # JSON without blanks: a model that saw little of it may write nothing else until the end.
        compact = StructuredOutputsConfig(backend="xgrammar", disable_any_whitespace=True)
        chosen: dict[str, Any] = {
            "structured_outputs_config": compact,
            **(options or EngineOptions()).arguments(),
        }
        arguments = AsyncEngineArgs(model=model, **chosen)
        self.processor: Any = processor_of(model)
        self.tokenizer: Any = self.processor.tokenizer
        self._llm: Any = AsyncLLM.from_engine_args(arguments)
        config = self._llm.model_config.hf_config
        self.model: Any = SimpleNamespace(config=config)
        self._room = Room.of(self._llm)
        self.longest = self._room.longest
        self.stop_ids = stop_ids(model, config, self.tokenizer)

    def prompt(self, messages: Sequence[Mapping[str, Any]]) -> VllmPrompt:
        """A conversation, its media loaded, as vLLM's input.

        Raises:
            ValueError: a medium is too large, there is no room for an answer, or a placeholder is
                written out.
        """
        return prompt_of(self.processor, messages, self._room)

    async def write(
        self,
        prompt: VllmPrompt,
        settings: SamplingSettings,
        name: str,
        *,
        schema: str | None = None,
        top_logprobs: int | None = None,
    ) -> AsyncIterator[Piece]:
        """The answer as it is written, held to a JSON `schema` if there is one.

        `name` is the request's own. Ending the iteration early ends the request.
        """
        more: dict[str, Any] = {}
        if schema is not None:
            from vllm.sampling_params import StructuredOutputsParams

            more["structured_outputs"] = StructuredOutputsParams(json=schema)
        if top_logprobs is not None:
            more["logprobs"] = top_logprobs
        wanted = sampling_params(settings, self.stop_ids, stream=True, **more)
        async for output in self._llm.generate(prompt.inputs, wanted, name):
            yield self._piece(output.outputs[0], top_logprobs)

    def check(self) -> None:
        """See that it still lives.

        Raises:
            EngineDiedError: it does not.
        """
        if self._llm.errored:
            raise EngineDiedError

    def close(self) -> None:
        """End vLLM's processes."""
        self._llm.shutdown()

    def _piece(self, answer: Any, top: int | None) -> Piece:
        ids: list[int] = list(answer.token_ids)
        if answer.finish_reason is not None and ids and ids[-1] in self.stop_ids:
            ids = ids[:-1]
        entries = answer.logprobs or [] if top is not None else []
        logprobs = tuple(
            _logprobs(entry, token, top or 0)
            for entry, token in zip(entries, answer.token_ids, strict=False)
        )[: len(ids)]
        return Piece(tuple(ids), logprobs, answer.finish_reason)


def _logprobs(entry: Mapping[int, Any], token: int, top: int) -> TokenLogprobs:
    ranked = sorted(entry.items(), key=lambda item: item[1].rank or 0)[:top]
    likeliest = tuple((id_, float(found.logprob)) for id_, found in ranked)
    return TokenLogprobs(token, float(entry[token].logprob), likeliest)
