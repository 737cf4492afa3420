"""The model of a bulk run: clips join as others end, as many as a count of tokens allows."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch

from videollama2.assistant import VideoLlama2
from videollama2.engine import Engine, Medium, user_message
from videollama2.generation.batch import BatchRow, ContinuousBatch
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.text import TextStream
from videollama2.processing.parts import LoadedMedia
from videollama2.scale.clips import Clip, Failure
from videollama2.scale.intake import Taken
from videollama2.scale.rows import answered, failed

log = logging.getLogger("videollama2.scale")
DEFAULT_PROMPT = "Describe what is seen and heard."


@dataclass(frozen=True)
class Asking:
    """What is asked about each clip, how answers are drawn, and how much is written at once.

    `batch_tokens` bounds the keys and values held: rows times the longest of them, prompt and
    longest answer. Each clip draws with the same `seed`, so that equal clips get equal answers,
    whatever they are written beside.
    """

    prompts: tuple[str, ...] = (DEFAULT_PROMPT,)
    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 0.9
    seed: int = 0
    batch_tokens: int = 32_768

    def of(self, clip: Clip) -> tuple[str, ...]:
        """The questions about one clip."""
        return clip.questions or self.prompts

    @property
    def sampling(self) -> SamplingSettings:
        """As the batch takes it."""
        return SamplingSettings(self.max_new_tokens, self.temperature, self.top_p, seed=self.seed)


@dataclass(eq=False)
class _Asked:
    """A clip whose answers are being written."""

    clip: Clip
    prompts: tuple[str, ...]
    medium: Medium
    rows: list[BatchRow] = field(default_factory=list[BatchRow])

    @property
    def is_done(self) -> bool:
        return all(row.finish_reason is not None for row in self.rows)


class AnyCaptioner(Protocol):
    """What `write_rows` needs of whatever answers clips; see `Captioner`."""

    @property
    def has_room(self) -> bool: ...  # noqa: D102

    @property
    def is_busy(self) -> bool: ...  # noqa: D102

    def put(self, taken: Taken) -> None: ...  # noqa: D102

    def step(self) -> list[dict[str, Any]]: ...  # noqa: D102


class Captioner:
    """Takes clips one by one, and gives rows as they are finished."""

    def __init__(self, assistant: VideoLlama2, asking: Asking) -> None:
        self._engine = Engine(assistant.model, assistant.processor)
        self._asking = asking
        self._budget = asking.batch_tokens
        self._asked: list[_Asked] = []
        self._waiting: deque[BatchRow] = deque()
        self._batch = self._new_batch()
        self._finished: list[dict[str, Any]] = []

    @property
    def has_room(self) -> bool:
        """Whether another clip may join: none that was taken waits for a place."""
        return not self._waiting

    @property
    def is_busy(self) -> bool:
        """Whether there is something to write."""
        return bool(self._asked or self._finished)

    def put(self, taken: Taken) -> None:
        """Take a clip; it is encoded at once."""
        clip, prompts = taken.clip, self._asking.of(taken.clip)
        if isinstance(taken.media, Failure):
            self._finished.append(failed(clip, prompts, taken.media))
            return
        try:
            asked = self._prepare(clip, prompts, taken.media)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            reason = "its frames do not fit into the device's memory"
            self._finished.append(failed(clip, prompts, Failure("refused", reason)))
        except ValueError as error:  # longer than the model reads, or a sound without ears
            self._finished.append(failed(clip, prompts, Failure("refused", str(error))))
        else:
            self._asked.append(asked)
            self._waiting.extend(asked.rows)

    def step(self) -> list[dict[str, Any]]:
        """Let rows join, write a token of each, and give the rows of clips that are finished."""
        self._join()
        if self._batch.rows:
            rows = list(self._batch.rows)
            try:
                self._batch.step()
            except Exception as error:  # noqa: BLE001  (the row to blame is found, and fails alone)
                self._take_apart(rows, error)
        for asked in [asked for asked in self._asked if asked.is_done]:
            self._asked.remove(asked)
            self._finished.append(self._row(asked))
        finished, self._finished = self._finished, []
        return finished

    def _prepare(self, clip: Clip, prompts: tuple[str, ...], loaded: LoadedMedia) -> _Asked:
        medium = self._engine.encoded(loaded)
        settings = self._asking.sampling
        rows: list[BatchRow] = []
        for text in prompts:
            prompt = self._engine.prompt([user_message(text, [medium])], [medium])
            rows.append(BatchRow(prompt, settings))
        return _Asked(clip, prompts, replace(medium, tokens=()), rows)

    def _join(self) -> None:
        while self._waiting and self._batch.has_room and self._fits(self._waiting[0]):
            row = self._waiting.popleft()
            try:
                self._batch.join([row])
            except Exception as error:  # noqa: BLE001
                if self._batch.rows and isinstance(error, torch.OutOfMemoryError):
                    self._waiting.appendleft(row)
                    self._shrink(len(self._batch.rows))
                    return
                self._fail(row, error)

    def _fits(self, row: BatchRow) -> bool:
        rows = self._batch.rows
        if not rows:
            return True
        longest = max(_most(one) for one in (*rows, row))
        return (len(rows) + 1) * longest <= self._budget

    def _take_apart(self, rows: list[BatchRow], error: Exception) -> None:
        """A step failed: its rows go on in smaller batches; one that fails alone is to blame."""
        self._batch = self._new_batch()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(rows) == 1:
            self._fail(rows[0], error)
            if not isinstance(error, torch.OutOfMemoryError):
                self._budget = self._asking.batch_tokens
            return
        self._waiting.extendleft(row for row in reversed(rows) if row.finish_reason is None)
        self._shrink(len(rows) // 2)

    def _shrink(self, rows: int) -> None:
        longest = max(_most(one) for one in (*self._batch.rows, *self._waiting))
        self._budget = max(rows, 1) * longest
        log.warning("batches hold %d tokens from now on", self._budget)

    def _fail(self, row: BatchRow, error: Exception) -> None:
        asked = next(asked for asked in self._asked if row in asked.rows)
        self._asked.remove(asked)
        for other in asked.rows:
            other.finish_reason = other.finish_reason or "stop"  # leaves before the next step
            if other in self._waiting:
                self._waiting.remove(other)
        reason = f"the model failed on it ({type(error).__name__}: {str(error).splitlines()[:1]})"
        if isinstance(error, torch.OutOfMemoryError):
            reason = "it does not fit into the device's memory"
        self._finished.append(failed(asked.clip, asked.prompts, Failure("refused", reason)))

    def _row(self, asked: _Asked) -> dict[str, Any]:
        texts = [self._text(row) for row in asked.rows]
        return answered(
            asked.clip,
            asked.prompts,
            texts,
            asked.medium.report,
            sum(len(row.prompt) for row in asked.rows),
            sum(len(row.tokens) for row in asked.rows),
        )

    def _text(self, row: BatchRow) -> str:
        text = TextStream(self._engine.writer.tokenizer)
        pieces = [text.push(token) for token in row.tokens]
        return "".join([*pieces, text.finish()])

    def _new_batch(self) -> ContinuousBatch:
        writer = self._engine.writer
        return ContinuousBatch(writer.model, stop_ids=writer.stop_ids, banned_ids=writer.banned_ids)


def write_rows(
    captioner: AnyCaptioner, take: Callable[[bool], Taken | None]
) -> Iterator[Sequence[dict[str, Any]]]:
    """Rows as they are finished, until `take` has no clip and all are written.

    `take` gives the next clip; it waits for one where it is told to, and gives None at the end.
    """
    while True:
        while captioner.has_room and (taken := take(not captioner.is_busy)) is not None:
            captioner.put(taken)
        if not captioner.is_busy:
            return
        finished = captioner.step()
        if finished:
            yield finished


def _most(row: BatchRow) -> int:
    """Positions that a row may take in the end."""
    return len(row.prompt) + row.settings.max_new_tokens
