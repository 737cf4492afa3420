"""Prompts -> text: the decode loop with words on both ends."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from videollama2.generation.prefix import PrefixCache
from videollama2.generation.prompt import Prompt
from videollama2.generation.run import DecodingRun
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.stops import banned_token_ids, stop_token_ids
from videollama2.generation.text import TextStream


@dataclass(frozen=True)
class Written:
    """One answer. `token_ids` are without the stop token, `reused_tokens` came from a prefix cache.

    `finish_reason` is "stop" (a stop token or string), "length" (`max_new_tokens`) or
    "interrupted" (nobody read on). `first_token_ms` counts from the start of the run, as does
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
    """A model and its tokenizer, ready to write answers."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.stop_ids = stop_token_ids(model, tokenizer)
        self.banned_ids = banned_token_ids(model)

    def write(
        self,
        prompts: Sequence[Prompt],
        settings: Sequence[SamplingSettings],
        prefix: PrefixCache | None = None,
    ) -> "Writing":
        """Start answering the prompts; see `Writing`."""
        run = DecodingRun(
            self.model,
            prompts,
            settings,
            stop_ids=self.stop_ids,
            banned_ids=self.banned_ids,
            prefix=prefix,
        )
        return Writing(run, self.tokenizer)


class Writing(Iterator[tuple[int, str]]):
    """Answers being written: iterate for (row, piece of text), then take `results()`."""

    def __init__(self, run: DecodingRun, tokenizer: Any) -> None:
        self._run = run
        self._texts = [TextStream(tokenizer, row.settings.stop_strings) for row in run.rows]
        self._started = time.perf_counter()
        self._first_ms = 0.0
        self._ended_ms = [0.0] * len(run.rows)
        self._pieces = self._write()

    def __next__(self) -> tuple[int, str]:
        return next(self._pieces)

    def results(self) -> list[Written]:
        """The answers so far, in the order of the prompts; all of them once iteration has ended."""
        return [self._result(row) for row in range(len(self._run.rows))]

    def close(self) -> None:
        """Stop writing; what has been written stays in `results()`."""
        self._pieces.close()

    def _write(self) -> Generator[tuple[int, str]]:
        run = self._run
        ended: set[int] = set()
        try:
            while run.running:
                step = run.step()
                self._first_ms = self._first_ms or self._elapsed_ms()
                for row, token in step:
                    piece = self._texts[row].push(token)
                    if self._texts[row].stopped:
                        run.finish(row)
                    if piece:
                        yield row, piece
                for row, state in enumerate(run.rows):
                    if state.finish_reason is not None and row not in ended:
                        ended.add(row)
                        self._ended_ms[row] = self._elapsed_ms()
                        piece = self._texts[row].finish()
                        if piece:
                            yield row, piece
        finally:
            run.close()

    def _elapsed_ms(self) -> float:
        return 1000 * (time.perf_counter() - self._started)

    def _result(self, row: int) -> Written:
        state = self._run.rows[row]
        return Written(
            text=self._texts[row].text,
            token_ids=tuple(state.tokens),
            finish_reason=state.finish_reason or "interrupted",
            prompt_tokens=len(state.prompt),
            reused_tokens=self._run.reused_tokens,
            first_token_ms=self._first_ms,
            total_ms=self._ended_ms[row] or self._elapsed_ms(),
        )
