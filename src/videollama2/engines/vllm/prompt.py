"""Conversations as vLLM's input, and what there is room for in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class VllmPrompt:
    """A prompt as vLLM takes it, and how many tokens it is with its media."""

    inputs: dict[str, Any]
    tokens: int

    def __len__(self) -> int:
        return self.tokens


@dataclass(frozen=True)
class Room:
    """What an engine has room for, in tokens: a prompt with its answer, and one medium."""

    longest: int
    largest: int

    @classmethod
    def of(cls, engine: Any) -> Room:
        """That of an `LLMEngine` or `AsyncLLM` of vLLM's."""
        largest = int(engine.input_processor.mm_encoder_cache_size)
        return cls(int(engine.model_config.max_model_len), largest)


def prompt_of(processor: Any, messages: Sequence[Mapping[str, Any]], room: Room) -> VllmPrompt:
    """A conversation whose media are loaded -> token ids with one placeholder a medium, and media.

    Raises:
        ValueError: a medium is too large, or there is no room for an answer.
    """
    from videollama2.engines.vllm.renderer import token_ids

    text, parts = processor.render(list(messages))
    ids = token_ids(processor, text)
    media: dict[str, list[Any]] = {kind: found for kind, found in parts.items() if found}
    runs = [processor.counter.runs(one) for found in media.values() for one in found]
    sizes = [sum(count for _, count in run) for run in runs]
    largest, tokens = max(sizes, default=0), len(ids) - len(sizes) + sum(sizes)
    if largest > room.largest:
        raise ValueError(
            f"a medium is {largest} tokens long and this engine takes {room.largest} at a time: "
            "take fewer frames (num_frames)"
        )
    if tokens >= room.longest:
        raise ValueError(
            f"the conversation is {tokens} tokens long and this engine reads {room.longest}, the "
            "answer among them: ask about fewer media, or take fewer frames (num_frames)"
        )
    inputs: dict[str, Any] = {"prompt_token_ids": ids}
    if media:
        inputs["multi_modal_data"] = media
    return VllmPrompt(inputs, tokens)
