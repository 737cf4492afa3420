"""Prompts -> text: the decode loop with words on both ends."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from videollama2.generation.batch import BatchRow, ContinuousBatch
from videollama2.generation.prefix import PrefixCache
from videollama2.generation.prompt import Prompt
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.stops import banned_token_ids, stop_token_ids
from videollama2.generation.text import TextStream


@dataclass(frozen=True)
class Written:
    """One answer. `token_ids` are without the stop token, `reused_tokens` came from a prefix cache.

    `finish_reason` is "stop" (a stop token or string), "length" (`max_new_tokens`) or
    "interrupted" (nobody read on). `first_token_ms` counts from the start of the writing, as does
    `total_ms`.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: str
    prompt_tokens: int
    reused_tokens: int
    first_token_ms: float
    total_ms: float


class Writer:
    """A model and its tokenizer, ready to write answers. `compile_steps` is torch.compile's
    backend for decode steps (None: they are not compiled).
    """

    def __init__(self, model: Any, tokenizer: Any, *, compile_steps: str | None = None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.compile_steps = compile_steps
        self.stop_ids = stop_token_ids(model, tokenizer)
        self.banned_ids = banned_token_ids(model)

    def open_batch(self, prefix: PrefixCache | None = None) -> ContinuousBatch:
        """An empty batch for rows of this model."""
        return ContinuousBatch(
            self.model,
            stop_ids=self.stop_ids,
            banned_ids=self.banned_ids,
            prefix=prefix,
            compile_backend=self.compile_steps,
        )

    def write(
        self,
        prompts: Sequence[Prompt],
        settings: Sequence[SamplingSettings],
        prefix: PrefixCache | None = None,
    ) -> "Writing":
        """Start answering the prompts; see `Writing`.

        Raises:
            ValueError: no prompt, or an empty one.
        """
        if not prompts or not all(len(prompt) for prompt in prompts):
            raise ValueError("there is no prompt, or it has no token: give at least one of each")
        rows = [BatchRow(*pair) for pair in zip(prompts, settings, strict=True)]
        return Writing(self, rows, prefix)


class Writing(Iterator[tuple[int, str]]):
    """Answers being written: iterate for (row, piece of text), then take `results()`."""

    def __init__(
        self, writer: Writer, rows: Sequence[BatchRow], prefix: PrefixCache | None
    ) -> None:
        self._writer = writer
        self._prefix = prefix
        self._rows = rows
        self._batches: list[ContinuousBatch] = []
        self._texts = [TextStream(writer.tokenizer, row.settings.stop_strings) for row in rows]
        self._pushed = [0] * len(rows)
        self._started = time.perf_counter()
        self._first_ms = [0.0] * len(rows)
        self._ended_ms = [0.0] * len(rows)
        self._pieces = self._write()

    def __next__(self) -> tuple[int, str]:
        return next(self._pieces)

    def results(self) -> list[Written]:
        """The answers so far, in the order of the prompts; all of them once iteration has ended."""
        return [self._result(row) for row in range(len(self._rows))]

    def close(self) -> None:
        """Stop writing; what has been written stays in `results()`."""
        self._pieces.close()

    def _write(self) -> Generator[tuple[int, str]]:
        try:
            for row in self._rows:
                self._open_batch().join([row])
                yield from self._new_pieces()
            while any(batch.rows for batch in self._batches):
                for batch in self._batches:
                    batch.step()
                yield from self._new_pieces()
        except GeneratorExit:
            self._close_batches()  # not after an error: what it left half-done is not touched
            raise
        self._close_batches()

    def _open_batch(self) -> ContinuousBatch:
        if not self._batches or not self._batches[-1].has_room:
            self._batches.append(self._writer.open_batch(self._prefix))
        return self._batches[-1]

    def _close_batches(self) -> None:
        for batch in self._batches:
            batch.close()

    def _new_pieces(self) -> Generator[tuple[int, str]]:
        for row, state in enumerate(self._rows):
            if self._ended_ms[row]:
                continue
            text = self._texts[row]
            for token in state.tokens[self._pushed[row] :]:
                self._first_ms[row] = self._first_ms[row] or self._elapsed_ms()
                self._pushed[row] += 1
                piece = text.push(token)
                if text.stopped:
                    state.finish_reason = "stop"
                if piece:
                    yield row, piece
                if text.stopped:
                    break
            if state.finish_reason is not None:
                self._first_ms[row] = self._first_ms[row] or self._elapsed_ms()
                self._ended_ms[row] = self._elapsed_ms()
                piece = text.finish()
                if piece:
                    yield row, piece

    def _elapsed_ms(self) -> float:
        return 1000 * (time.perf_counter() - self._started)

    def _result(self, row: int) -> Written:
        state = self._rows[row]
        reason = state.finish_reason
        return Written(
            text=self._texts[row].text,
            token_ids=tuple(state.tokens),
            finish_reason=reason or "interrupted",
            prompt_tokens=len(state.prompt),
            reused_tokens=state.reused_tokens,
            first_token_ms=self._first_ms[row],
            total_ms=self._ended_ms[row] or self._elapsed_ms(),
        )
