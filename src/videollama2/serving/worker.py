"""The one thread that owns the model: answers share its steps, and calls come between them."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Protocol

from videollama2.assistant import VideoLlama2
from videollama2.engine import Engine, Medium
from videollama2.generation.batch import BatchRow, ContinuousBatch
from videollama2.generation.logprobs import TokenLogprobs
from videollama2.generation.prefix import PrefixCache
from videollama2.generation.prompt import Prompt
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.text import TextStream
from videollama2.media_cache import MediaCache
from videollama2.processing.parts import MediaReport
from videollama2.serving.errors import ApiError, internal
from videollama2.serving.intake import Unencoded
from videollama2.serving.metrics import Metrics
from videollama2.serving.protocol import ResponseFormat
from videollama2.serving.settings import ServerSettings
from videollama2.serving.structured import JsonSchemas

log = logging.getLogger("videollama2.serving")
_CONTEXT = "max_position_embeddings"


@dataclass(frozen=True)
class Started:
    """The prompt has been read."""

    prompt_tokens: int
    reused_media: int
    media: tuple[MediaReport, ...]


@dataclass(frozen=True)
class Wrote:
    """A piece of one choice's text, and the logarithms of the tokens since the last one.

    `finish_reason` is set on a choice's last; `tokens` is how many it has by then.
    """

    choice: int
    text: str
    logprobs: tuple[TokenLogprobs, ...]
    tokens: int
    finish_reason: str | None = None


@dataclass(frozen=True)
class Failed:
    """There will be no (further) answer."""

    error: ApiError


Event = Started | Wrote | Failed


@dataclass(eq=False)
class Job:
    """One request for answers.

    `messages` are as templates take them, with a number instead of a content part where the medium
    of that number stands. `settings` decide, `max_new_tokens` None takes what the model has room
    for up to a limit. `emit` is called from the worker's thread.
    """

    messages: list[dict[str, Any]]
    media: list[Medium | Unencoded]
    settings: SamplingSettings
    max_new_tokens: int | None
    choices: int
    emit: Callable[[Event], None]
    grammar: str | None = None
    top_logprobs: int | None = None
    cancelled: bool = False

    def cancel(self) -> None:
        """Nobody waits for it any more: its rows leave before the next step."""
        self.cancelled = True


@dataclass(eq=False)
class _Choice:
    """One row, and how much of it has been given out."""

    job: Job
    number: int
    row: BatchRow
    text: TextStream
    logprobs_given: int = 0
    pushed: int = 0


@dataclass(frozen=True)
class _Call:
    work: Callable[[Any], Any]
    result: Future[Any]


class Schemas(Protocol):
    """What holds answers to JSON schemas."""

    def grammar(self, wanted: ResponseFormat | None) -> str | None:
        """A response format for `Job.grammar`. Raises `ApiError`."""
        ...


class Worker(Protocol):
    """What answers jobs: our own model's thread, or vLLM's."""

    failure: BaseException | None

    @property
    def schemas(self) -> Schemas:
        """Known once it has loaded."""
        ...

    @property
    def rows(self) -> int:
        """Answers being written."""
        ...

    @property
    def queued(self) -> int:
        """Jobs that wait."""
        ...

    def start(self) -> None:
        """Begin to load."""
        ...

    def stop(self) -> None:
        """End it."""
        ...

    def is_alive(self) -> bool:
        """Whether it still answers."""
        ...

    def submit(self, job: Job) -> None:
        """Answer a job; its `emit` hears of it."""
        ...

    def call(self, work: Callable[[Any], Any]) -> Future[Any]:
        """Call `work` with the model."""
        ...


class ModelWorker(threading.Thread):
    """Loads the model, then answers jobs until it is stopped."""

    def __init__(
        self,
        load: Callable[[], VideoLlama2],
        settings: ServerSettings,
        cache: MediaCache,
        metrics: Metrics,
        on_loaded: Callable[[VideoLlama2], None],
    ) -> None:
        super().__init__(name="model", daemon=True)
        self.failure: BaseException | None = None
        self._load = load
        self._settings = settings
        self._cache = cache
        self._metrics = metrics
        self._on_loaded = on_loaded
        self._inbox: queue.SimpleQueue[Job | _Call | None] = queue.SimpleQueue()
        self._waiting: deque[Job] = deque()
        self._writing: list[_Choice] = []
        self._batches: list[ContinuousBatch] = []
        # Whoever reads a prompt faster than it should be could tell that another key sent it.
        self._prefix = None if settings.cache_per_key else PrefixCache(settings.prefix_bytes)
        self._stopped = False

    # --- from other threads ---

    def submit(self, job: Job) -> None:
        """Answer a job; its `emit` hears of it."""
        self._inbox.put(job)

    def call(self, work: Callable[[Any], Any]) -> Future[Any]:
        """Call `work` with the model between two steps."""
        result: Future[Any] = Future()
        self._inbox.put(_Call(work, result))
        return result

    def stop(self) -> None:
        """End after the step that is running."""
        self._stopped = True
        self._inbox.put(None)

    @property
    def rows(self) -> int:
        """Answers being written."""
        return len(self._writing)

    @property
    def queued(self) -> int:
        """Jobs that wait for a place."""
        return len(self._waiting) + self._inbox.qsize()

    # --- the thread ---

    def run(self) -> None:
        """Load, then go round."""
        try:
            assistant = self._load()
            self._engine = Engine(
                assistant.model, assistant.processor, compile_steps=assistant.compile_steps
            )
            config = assistant.model.config
            self.schemas = JsonSchemas(
                assistant.tokenizer,
                int(config.text_config.vocab_size),
                self._engine.writer.stop_ids,
            )
            self._longest: int | None = getattr(config.text_config, _CONTEXT, None)
            self._warm_up()
            self._on_loaded(assistant)
        except BaseException as error:  # noqa: BLE001  (handed to whoever started the thread)
            self.failure = error
            return
        while not self._stopped:
            self._receive()
            self._drop_cancelled()
            self._admit_one()
            self._step()

    def _warm_up(self) -> None:
        """Answer once, so that what cannot work at all is known before anybody asks."""
        prompt = self._engine.prompt([{"role": "user", "content": "?"}], [])
        for _ in self._engine.writer.write([prompt], [SamplingSettings(2)]):
            pass

    def _receive(self) -> None:
        busy = bool(self._writing or self._waiting)
        while True:
            try:
                item = self._inbox.get(block=not busy)
            except queue.Empty:
                return
            busy = True
            if isinstance(item, Job):
                self._waiting.append(item)
            elif isinstance(item, _Call):
                self._answer_call(item)

    def _answer_call(self, call: _Call) -> None:
        if not call.result.set_running_or_notify_cancel():
            return
        try:
            call.result.set_result(call.work(self._engine.model))
        except Exception as error:  # noqa: BLE001  (it is the caller's)
            call.result.set_exception(error)

    def _drop_cancelled(self) -> None:
        gone = [job for job in self._waiting if job.cancelled]
        for job in gone:
            self._waiting.remove(job)
        for choice in self._writing:
            if choice.job.cancelled:
                choice.row.finish_reason = "cancelled"
        kept = [choice for choice in self._writing if not choice.job.cancelled]
        self._metrics.cancelled.inc(len(gone) + len(self._writing) - len(kept))
        self._writing = kept

    def _admit_one(self) -> None:
        """Begin the next job, if its choices have room; one a step, so that the others go on."""
        if not self._waiting:
            return
        room = self._settings.max_rows - len(self._writing)
        if self._waiting[0].choices > room and self._writing:
            return
        job = self._waiting.popleft()
        try:
            self._begin(job)
        except ApiError as error:
            job.emit(Failed(error))
        except Exception:
            log.exception("a request failed when its prompt was read")
            job.emit(Failed(internal()))

    def _begin(self, job: Job) -> None:
        media = [self._encoded(item) for item in job.media]
        prompt = self._prompt(job, media)
        settings = replace(
            job.settings, max_new_tokens=room_for(job, len(prompt), self._longest, self._settings)
        )
        rows = [self._row(job, prompt, settings, number) for number in range(job.choices)]
        reused = sum(isinstance(item, Medium) for item in job.media)
        reports = tuple(medium.report for medium in media)
        job.media = []  # pixels and sound are not needed any more
        batch = self._batches[0] if self._batches and self._batches[0].has_room else None
        if batch is None:
            batch = self._new_batch()
        batch.join(rows)
        if batch not in self._batches:
            self._batches.append(batch)
        self._metrics.prompt_tokens.inc(len(prompt))
        job.emit(Started(len(prompt), reused, reports))
        choices = [
            _Choice(job, number, row, self._text(settings)) for number, row in enumerate(rows)
        ]
        self._writing += choices
        self._give_out(choices)

    def _new_batch(self) -> ContinuousBatch:
        return self._engine.writer.open_batch(self._prefix)

    def _text(self, settings: SamplingSettings) -> TextStream:
        return TextStream(self._engine.writer.tokenizer, settings.stop_strings)

    def _row(self, job: Job, prompt: Prompt, settings: SamplingSettings, number: int) -> BatchRow:
        seed = secrets.randbits(63) if settings.seed is None else settings.seed + number
        constraint = None if job.grammar is None else self.schemas.constraint(job.grammar)
        return BatchRow(
            prompt,
            replace(settings, seed=seed % 2**63),
            constraint=constraint,
            top_logprobs=job.top_logprobs,
        )

    def _encoded(self, item: Medium | Unencoded) -> Medium:
        if isinstance(item, Medium):
            return item
        kept = self._cache.get(item.key)  # somebody may have asked about it at the same time
        if kept is not None:
            return replace(kept, loaded=replace(kept.loaded, report=item.loaded.report))
        medium = self._engine.encoded(item.loaded)
        self._metrics.encode_seconds.observe(medium.encode_ms / 1000)
        self._cache.put(item.key, medium)
        return medium

    def _prompt(self, job: Job, media: Sequence[Medium]) -> Prompt:
        messages: list[dict[str, Any]] = []
        for message in job.messages:
            content = [
                media[part].content if isinstance(part, int) else part
                for part in message["content"]
            ]
            messages.append({**message, "content": content})
        try:
            return self._engine.prompt(messages, media)
        except ValueError as error:  # too long, or a placeholder written out: our own words
            raise ApiError(400, str(error), code="invalid_prompt", param="messages") from error

    def _step(self) -> None:
        for batch in list(self._batches):
            size = len(batch.rows)
            began = time.perf_counter()
            try:
                batch.step()
            except Exception:  # noqa: BLE001  (logged there)
                self._take_apart(batch)
            else:
                if size:
                    self._metrics.step_rows.observe(size)
                    self._metrics.step_seconds.observe(time.perf_counter() - began)
        self._give_out(self._writing)
        self._batches = [batch for batch in self._batches if batch.rows]

    def _take_apart(self, batch: ContinuousBatch) -> None:
        """A step failed: each row goes on alone, so that the one to blame fails alone."""
        self._batches.remove(batch)
        rows = [row for row in batch.rows if row.finish_reason is None]
        log.exception("a step of %d rows failed", len(rows))
        for row in rows:
            single = self._new_batch()
            try:
                if len(rows) == 1:
                    raise RuntimeError("a row failed alone")
                single.join([row])
                self._batches.append(single)
            except Exception:
                log.exception("a row failed")
                self._fail(row)

    def _fail(self, row: BatchRow) -> None:
        job = next(choice.job for choice in self._writing if choice.row is row)
        job.emit(Failed(internal()))
        job.cancel()
        self._drop_cancelled()

    def _give_out(self, choices: Sequence[_Choice]) -> None:
        ended: set[int] = set()
        for choice in choices:
            row = choice.row
            piece = "".join(choice.text.push(token) for token in row.tokens[choice.pushed :])
            self._metrics.answer_tokens.inc(len(row.tokens) - choice.pushed)
            choice.pushed = len(row.tokens)
            if choice.text.stopped and row.finish_reason != "stop":
                row.finish_reason = "stop"
            if row.finish_reason is not None:
                piece += choice.text.finish()
                ended.add(id(choice))
            if piece or row.finish_reason is not None:
                logprobs = tuple(row.logprobs[choice.logprobs_given :])
                choice.logprobs_given = len(row.logprobs)
                choice.job.emit(
                    Wrote(choice.number, piece, logprobs, len(row.tokens), row.finish_reason)
                )
        if ended:
            self._writing = [choice for choice in self._writing if id(choice) not in ended]


def room_for(job: Job, prompt_tokens: int, longest: int | None, settings: ServerSettings) -> int:
    """How many tokens the answer may have; `longest` is how many the language model reads.

    Raises:
        ApiError: 400, there is room for fewer than were asked for.
    """
    room = settings.max_answer_tokens
    if longest is not None:
        room = min(room, longest - prompt_tokens)
    if room < 1 or (job.max_new_tokens or 0) > room:
        asked = "an answer" if job.max_new_tokens is None else f"{job.max_new_tokens} tokens"
        raise ApiError(
            400,
            f"after a prompt of {prompt_tokens} tokens there is room for {max(room, 0)} and "
            f"{asked} was asked for",
            code="context_length_exceeded",
            param="max_completion_tokens",
        )
    return job.max_new_tokens or min(room, settings.default_answer_tokens)
