"""vLLM in the place of our own batches: it decides itself what is written together."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from videollama2.engine import user_message
from videollama2.generation.text import TextStream
from videollama2.media_cache import Medium
from videollama2.processing.loader import MediaLoader
from videollama2.scale.captioner import Asking
from videollama2.scale.clips import Clip, Failure
from videollama2.scale.intake import Taken
from videollama2.scale.rows import answered, failed

if TYPE_CHECKING:
    from videollama2.engines.vllm.online import OnlineEngine

Value = TypeVar("Value")
_WAIT_S = 0.02  # other clips may be read by then


class VllmCaptioner:
    """As `Captioner`. `batch_tokens` bounds what waits and what is written, prompt and answer."""

    def __init__(self, open_engine: Callable[[], OnlineEngine], asking: Asking) -> None:
        self._asking = asking
        self._tokens: dict[str, int] = {}
        self._ended: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True).start()

        async def opened() -> OnlineEngine:
            return open_engine()

        self._engine = self._inside(opened())

    @property
    def loader(self) -> MediaLoader:
        """What reads media for this model."""
        return self._engine.processor.loader

    @property
    def has_room(self) -> bool:
        """Whether another clip may join."""
        return sum(self._tokens.values()) < self._asking.batch_tokens

    @property
    def is_busy(self) -> bool:
        """Whether there is something to write."""
        return bool(self._tokens)

    def put(self, taken: Taken) -> None:
        """Take a clip; vLLM encodes it."""
        clip, prompts = taken.clip, self._asking.of(taken.clip)
        self._tokens[clip.id] = 0
        if isinstance(taken.media, Failure):
            self._ended.put(failed(clip, prompts, taken.media))
            return
        medium = Medium(taken.media, (), 0.0, 0.0)
        try:
            asked = [self._engine.prompt([user_message(text, [medium])]) for text in prompts]
        except ValueError as error:  # longer than the model reads, or a sound without ears
            self._ended.put(failed(clip, prompts, Failure("refused", str(error))))
            return
        longest = self._asking.max_new_tokens
        self._tokens[clip.id] = sum(len(prompt) + longest for prompt in asked)
        asyncio.run_coroutine_threadsafe(self._answer(clip, prompts, asked, medium), self._loop)

    def step(self) -> list[dict[str, Any]]:
        """The rows that are finished by now.

        Raises:
            Exception: whatever vLLM ended with.
        """
        rows: list[dict[str, Any]] = []
        try:
            while True:
                ended = self._ended.get(timeout=0 if rows else _WAIT_S)
                if isinstance(ended, BaseException):
                    raise ended
                self._tokens.pop(ended["clip"])
                rows.append(ended)
        except queue.Empty:
            return rows

    async def _answer(
        self, clip: Clip, prompts: tuple[str, ...], asked: list[Any], medium: Medium
    ) -> None:
        try:
            names = [f"{clip.id}-{place}" for place in range(len(asked))]
            tokens = await asyncio.gather(*map(self._write, asked, names))
        except Exception as error:  # noqa: BLE001  (it is raised where rows are waited for)
            self._ended.put(error)
            return
        self._ended.put(
            answered(
                clip,
                prompts,
                [self._text(ids) for ids in tokens],
                medium.report,
                sum(len(prompt) for prompt in asked),
                sum(len(ids) for ids in tokens),
            )
        )

    async def _write(self, prompt: Any, name: str) -> list[int]:
        pieces = self._engine.write(prompt, self._asking.sampling, name)
        return [token async for piece in pieces for token in piece.tokens]

    def _text(self, ids: list[int]) -> str:
        text = TextStream(self._engine.tokenizer)
        return "".join([*(text.push(token) for token in ids), text.finish()])

    def _inside(self, work: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
