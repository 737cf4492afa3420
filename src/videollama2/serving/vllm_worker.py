"""The thread that owns vLLM: in the place of `ModelWorker`, with the same jobs and events."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from itertools import count
from typing import Any

from videollama2.engines.vllm.online import OnlineEngine
from videollama2.engines.vllm.prompt import VllmPrompt
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.text import TextStream
from videollama2.media_cache import MediaCache
from videollama2.serving.errors import ApiError, internal
from videollama2.serving.metrics import Metrics
from videollama2.serving.protocol import ResponseFormat
from videollama2.serving.settings import ServerSettings
from videollama2.serving.structured import JsonSchemas
from videollama2.serving.worker import Failed, Job, Started, Wrote, room_for

log = logging.getLogger("videollama2.serving")
_LOOK_S = 0.1  # how soon a request that nobody waits for is ended


class SchemaTexts:
    """Response formats as JSON schemas, which vLLM follows by itself."""

    def __init__(self, engine: OnlineEngine) -> None:
        vocabulary = int(engine.model.config.text_config.vocab_size)
        self._schemas = JsonSchemas(engine.tokenizer, vocabulary, engine.stop_ids)

    def grammar(self, wanted: ResponseFormat | None) -> str | None:
        """The schema of a response format; None where the answer is free.

        Raises:
            ApiError: 400, the schema cannot be followed, and why.
        """
        if wanted is None or self._schemas.grammar(wanted) is None:
            return None
        given = None if wanted.json_schema is None else wanted.json_schema.json_schema
        return json.dumps(given or {"type": "object"})


class VllmWorker(threading.Thread):
    """Loads the model into vLLM, then answers jobs until it is stopped.

    Media are read by the server's own processes; vLLM encodes them, and keeps what it encoded.
    """

    def __init__(
        self,
        load: Callable[[], OnlineEngine],
        settings: ServerSettings,
        _cache: MediaCache,
        metrics: Metrics,
        on_loaded: Callable[[Any], None],
    ) -> None:
        super().__init__(name="vllm", daemon=True)
        self.failure: BaseException | None = None
        self._load = load
        self._settings = settings
        self._metrics = metrics
        self._on_loaded = on_loaded
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: dict[asyncio.Task[None], Job] = {}
        self._names = count()
        self._stopped = threading.Event()

    # --- from other threads ---

    def submit(self, job: Job) -> None:
        """Answer a job; its `emit` hears of it."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin, job)

    def call(self, work: Callable[[Any], Any]) -> Future[Any]:
        """There is no model of ours to call `work` with."""
        result: Future[Any] = Future()
        result.set_exception(
            ApiError(400, "this server answers in vLLM, without sound tags", code="not_in_vllm")
        )
        return result

    def stop(self) -> None:
        """End what is running."""
        self._stopped.set()

    @property
    def rows(self) -> int:
        """Jobs being answered."""
        return len(self._running)

    @property
    def queued(self) -> int:
        """Jobs that wait: vLLM takes in all of them."""
        return 0

    # --- the thread ---

    def run(self) -> None:
        """Load, then answer."""
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  (handed to whoever started the thread)
            self.failure = error

    async def _serve(self) -> None:
        self._engine = self._load()
        try:
            self.schemas = SchemaTexts(self._engine)
            await self._warm_up()
            self._loop = asyncio.get_running_loop()
            self._on_loaded(self._engine)
            while not self._stopped.is_set():
                await asyncio.sleep(_LOOK_S)
                self._engine.check()
                self._drop_cancelled()
        finally:
            self._loop = None
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            self._engine.close()

    def _drop_cancelled(self) -> None:
        for task, job in list(self._running.items()):
            # Once: a second time would come in between while vLLM ends the request.
            if job.cancelled and not task.cancelling() and task.cancel():
                self._metrics.cancelled.inc(job.choices)

    async def _warm_up(self) -> None:
        """Answer once, so that what cannot work at all is known before anybody asks."""
        prompt = self._engine.prompt([{"role": "user", "content": "?"}])
        async for _ in self._engine.write(prompt, SamplingSettings(2), "first"):
            pass

    def _begin(self, job: Job) -> None:
        task = asyncio.ensure_future(self._answer(job))
        self._running[task] = job
        task.add_done_callback(lambda done: self._running.pop(done, None))

    async def _answer(self, job: Job) -> None:
        try:
            prompt = await asyncio.to_thread(self._prompt, job)
            most = room_for(job, len(prompt), self._engine.longest, self._settings)
            self._metrics.prompt_tokens.inc(len(prompt))
            reports = tuple(medium.loaded.report for medium in job.media)
            job.emit(Started(len(prompt), 0, reports))
            settings = replace(job.settings, max_new_tokens=most)
            async with asyncio.TaskGroup() as choices:  # where one fails, the others end
                for number in range(job.choices):
                    choices.create_task(self._write(job, number, prompt, settings))
        except ApiError as error:
            job.emit(Failed(error))
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("a request failed in vLLM")
            job.emit(Failed(internal()))

    def _prompt(self, job: Job) -> VllmPrompt:
        contents = [{"type": one.loaded.kind, one.loaded.kind: one.loaded} for one in job.media]
        messages = [
            {
                **message,
                "content": [contents[p] if isinstance(p, int) else p for p in message["content"]],
            }
            for message in job.messages
        ]
        try:
            return self._engine.prompt(messages)
        except ValueError as error:  # too long, or a placeholder written out: our own words
            raise ApiError(400, str(error), code="invalid_prompt", param="messages") from error

    async def _write(
        self, job: Job, number: int, prompt: VllmPrompt, settings: SamplingSettings
    ) -> None:
        text = TextStream(self._engine.tokenizer, settings.stop_strings)
        seed = secrets.randbits(63) if settings.seed is None else settings.seed + number
        pieces = self._engine.write(
            prompt,
            replace(settings, seed=seed % 2**63),
            f"{next(self._names)}-{number}",
            schema=job.grammar,
            top_logprobs=job.top_logprobs,
        )
        written = 0
        async for piece in pieces:
            shown = "".join(text.push(token) for token in piece.tokens)
            written += len(piece.tokens)
            self._metrics.answer_tokens.inc(len(piece.tokens))
            if piece.finish_reason is not None:
                shown += text.finish()
            if shown or piece.logprobs or piece.finish_reason is not None:
                job.emit(Wrote(number, shown, piece.logprobs, written, piece.finish_reason))
