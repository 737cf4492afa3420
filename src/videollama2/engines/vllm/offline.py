"""vLLM in this process: media in, prompts out, answers written, as `engine.Engine` does it."""

# pyright: reportAttributeAccessIssue=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from videollama2.engines.vllm.missing import need_vllm
from videollama2.engines.vllm.prompt import Room, VllmPrompt, prompt_of
from videollama2.engines.vllm.settings import EngineOptions, sampling_params, stop_ids
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.text import TextStream
from videollama2.generation.writing import Written
from videollama2.media.source import open_source
from videollama2.media_cache import Key, Medium, key_of
from videollama2.processing.parts import LoadedMedia, Part

_KEPT = 8  # several questions about a clip follow each other


class OfflineEngine:
    """A checkpoint of any layout in vLLM. `num_frames` None takes the model's own.

    Raises:
        MissingVllmError: vLLM is not installed.
        CheckpointError: there is no such checkpoint.
    """

    def __init__(
        self, model: str, options: EngineOptions | None = None, *, num_frames: int | None = None
    ) -> None:
        need_vllm()
        from vllm import LLM

        from videollama2.engines.vllm.plugin import register
        from videollama2.engines.vllm.tokenizer import processor_of

        register()
        self.num_frames = num_frames
        self.processor = processor_of(model)
        self._kept: OrderedDict[Key, LoadedMedia] = OrderedDict()
        self.llm: Any = LLM(model, **(options or EngineOptions()).arguments())
        self.config: Any = self.llm.model_config.hf_config
        self.room = Room.of(self.llm.llm_engine)
        self._stop_ids = stop_ids(model, self.config, self.processor.tokenizer)

    def take_in(self, parts: Sequence[Part]) -> list[Medium]:
        """Read each medium once; vLLM encodes it when it is first asked about.

        Raises:
            MediaError: one cannot be read.
            ValueError: sound was asked of a model without ears.
        """
        return [self._take_one(part) for part in parts]

    def forget(self) -> None:
        """Give up the clips that are kept."""
        self._kept.clear()

    def _take_one(self, part: Part) -> Medium:
        began = time.perf_counter()
        given: Any = None if isinstance(part, LoadedMedia) else part.source
        if not isinstance(part, LoadedMedia) and isinstance(given, (str, os.PathLike, bytes)):
            part = replace(part, source=open_source(given, limits=self.processor.limits))
        key = key_of(part)
        loaded = None if key is None else self._kept.pop(key, None)
        if loaded is None:
            loaded = self.processor.load_media(part)
        if key is not None:
            self._kept[key] = loaded
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return Medium(loaded, (), 1000 * (time.perf_counter() - began), 0.0)

    def prompt(self, messages: Sequence[Mapping[str, Any]], media: Sequence[Medium]) -> VllmPrompt:
        """A conversation as vLLM's input; its media stand in the messages.

        Raises:
            ValueError: a medium is too large, or there is no room for an answer.
        """
        return prompt_of(self.processor, messages, self.room)

    def write(
        self, prompts: Sequence[VllmPrompt], settings: Sequence[SamplingSettings]
    ) -> list[Written]:
        """An answer to each prompt, all written together."""
        began = time.perf_counter()
        outputs = self.llm.generate(
            [prompt.inputs for prompt in prompts],
            [sampling_params(one, self._stop_ids) for one in settings],
            use_tqdm=False,
        )
        total_ms = 1000 * (time.perf_counter() - began)
        pairs = zip(outputs, settings, strict=True)
        return [self._written(output, one, total_ms) for output, one in pairs]

    def close(self) -> None:
        """End vLLM's processes."""
        self.llm.llm_engine.engine_core.shutdown()

    def _written(self, output: Any, settings: SamplingSettings, total_ms: float) -> Written:
        answer = output.outputs[0]
        ids: tuple[int, ...] = tuple(answer.token_ids)
        if ids and ids[-1] in self._stop_ids:
            ids = ids[:-1]
        text = TextStream(self.processor.tokenizer, settings.stop_strings)
        for token in ids:
            text.push(token)
        text.finish()
        return Written(
            text.text,
            ids,
            str(answer.finish_reason),
            len(output.prompt_token_ids),
            int(output.num_cached_tokens or 0),
            0.0,
            total_ms,
        )
