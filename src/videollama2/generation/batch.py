"""The decode path: rows join and leave between steps, and all that are there share each step.

A step's tokens stay on the device and are the next step's input. The host reads them `lag` steps
later: on a GPU nobody waits for a step, at the price of one more for a row that has ended.

Legend: b rows, v vocabulary.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from videollama2.generation.held import Held, LooseRows, SlotRows
from videollama2.generation.logprobs import LikelyTokens, TokenLogprobs
from videollama2.generation.prefix import PrefixCache, can_crop, new_cache
from videollama2.generation.prompt import Prompt, features_from
from videollama2.generation.sampling import RowSampling, penalise, pick
from videollama2.generation.settings import SamplingSettings


class Constraint(Protocol):
    """What a row may say, such as JSON of a schema: it follows the row token by token."""

    def allowed(self, vocabulary: int) -> Tensor:
        """(V,) bool on the CPU: which tokens may come next, a stop token where it may end."""
        ...

    def accept(self, token: int) -> None:
        """Take note of the next token."""
        ...


@dataclass(eq=False)
class BatchRow:
    """One answer being written.

    `top_logprobs` asks for the logarithms of so many of the likeliest tokens at each step (None:
    of none at all), which come in `logprobs`, one entry a token. `finish_reason` is None while it
    runs, then "stop" or "length"; set from outside, the row leaves before the next step.
    `reused_tokens` of its prompt were in a prefix cache.
    """

    prompt: Prompt
    settings: SamplingSettings
    constraint: Constraint | None = None
    top_logprobs: int | None = None
    tokens: list[int] = field(default_factory=list[int])
    logprobs: list[TokenLogprobs] = field(default_factory=list[TokenLogprobs])
    finish_reason: str | None = None
    reused_tokens: int = 0
    launched: int = 0  # tokens picked on the device, those not read yet among them

    def __len__(self) -> int:
        """Positions of prompt and answer so far."""
        return len(self.prompt) + len(self.tokens)


class _Step:
    """Tokens on their way from the device: `rows` had them picked, in this order."""

    def __init__(
        self, rows: Sequence[BatchRow], tokens_b: Tensor, likely: LikelyTokens | None
    ) -> None:
        self.rows = tuple(rows)
        self.likely = likely
        self._event: Any = None
        self._tokens = tokens_b
        if tokens_b.is_cuda:
            self._tokens = torch.empty_like(tokens_b, device="cpu", pin_memory=True)
            self._tokens.copy_(tokens_b, non_blocking=True)
            self._event = torch.cuda.Event()
            # Of the tokens' own GPU: the current one may be another.
            self._event.record(torch.cuda.current_stream(tokens_b.device))

    def tokens(self) -> list[int]:
        """Wait for them."""
        if self._event is not None:
            self._event.synchronize()
        plain: Any = self._tokens
        return plain.tolist()


class ContinuousBatch:
    """Rows of any length that are decoded together, each as it would be alone.

    `join` reads a prompt and writes the first token of its rows; `step` writes one more token of
    every row. With `prefix`, what it holds of a prompt's beginning is not read again, and what
    rows have read and written stays there when they leave. `capture` replays steps as CUDA
    graphs (None: where there is a GPU and the language model can), `compile_backend` compiles
    them. A step that raises leaves the batch unusable and its rows as they were: they can join
    another one.

    A language model whose cache is not keys and values alone (recurrent states) takes one `join`
    only: `has_room` is then False.
    """

    def __init__(
        self,
        model: Any,
        *,
        stop_ids: frozenset[int] = frozenset(),
        banned_ids: frozenset[int] = frozenset(),
        prefix: PrefixCache | None = None,
        capture: bool | None = None,
        compile_backend: str | None = None,
        lag: int | None = None,
    ) -> None:
        self.rows: list[BatchRow] = []
        self._model = model
        self._device: torch.device = model.get_input_embeddings().weight.device
        self._placeholders: dict[str, int] = model.model.media_token_ids()
        self._stop_ids = stop_ids
        self._banned = torch.tensor(sorted(banned_ids), dtype=torch.long, device=self._device)
        self._prefix = prefix
        self._lag = int(self._device.type == "cuda") if lag is None else lag
        self._held: Held = (
            SlotRows(model, capture=capture, compile_backend=compile_backend)
            if SlotRows.fits(model)
            else LooseRows(model)
        )
        none_b = torch.zeros(0, dtype=torch.long, device=self._device)
        self._tokens_b, self._positions_b = none_b, none_b
        self._sampling: RowSampling | None = None
        self._steps: deque[_Step] = deque()

    @property
    def has_room(self) -> bool:
        """Whether other rows can share steps with those that are there."""
        return not self.rows or self._held.shares

    def join(self, rows: Sequence[BatchRow]) -> list[BatchRow]:
        """Take in rows that begin alike (the same prompt, the same tokens written so far).

        Gives the rows that have a new token, of those that were there before too. What raises here
        leaves the batch as it was.

        Raises:
            ValueError: no row, rows that begin differently, an empty prompt, no room.
            MediaTokenMismatchError: placeholders and media tokens differ in number.
        """
        first = rows[0] if rows else None
        if first is None or not len(first.prompt):
            raise ValueError("there is no row, or its prompt has no token")
        if any(row.prompt != first.prompt or row.tokens != first.tokens for row in rows):
            raise ValueError("rows that join together begin alike")
        if not self.has_room:
            raise ValueError("rows of this language model cannot share steps: open another batch")
        with torch.inference_mode():
            went_on = self._resolved(0)
            self._drop_finished()
            cache, logits_bv = self._read(rows)
            try:
                self._held.add(cache, len(rows))
                self._enter(rows, logits_bv.expand(len(rows), -1))
            except BaseException:
                self._held.keep(range(len(self.rows)))
                raise
            return went_on + self._resolved(0)

    def step(self) -> list[BatchRow]:
        """Write one more token of every row; gives those that have one, without stop tokens."""
        with torch.inference_mode():
            went_on: list[BatchRow] = []
            while self.rows and not went_on:
                self._drop_finished()
                launched = self._launch()
                went_on = self._resolved(self._lag if launched else 0)
            return went_on

    def close(self) -> None:
        """Keep what the rows have read and written in the prefix cache; let them go."""
        with torch.inference_mode():
            self._resolved(0)
            for row in self.rows:
                row.finish_reason = row.finish_reason or "interrupted"
            self._drop_finished()

    # --- reading prompts ---

    def _read(self, rows: Sequence[BatchRow]) -> tuple[Any, Tensor]:
        """The cache of a prompt (and what was written already), and the next token's scores."""
        row = rows[0]
        ids = [*row.prompt.input_ids, *row.tokens]
        marks = self._marks(row)
        cache, shared = (None, 0) if self._prefix is None else self._prefix.find(marks)
        if cache is None:
            cache = new_cache(self._model.config.text_config, croppable=True)
        logits_bv = self._forward(
            torch.tensor([ids[shared:]]),
            torch.arange(shared, len(ids))[None],
            cache,
            features_from(row.prompt, shared, self._placeholders),
        )
        if self._prefix is not None and can_crop(cache):
            self._prefix.keep(marks, cache)  # others may ask about the same at once
        for each in rows:
            each.reused_tokens = shared
        return cache, logits_bv

    def _marks(self, row: BatchRow) -> list[tuple[int, int]]:
        return row.prompt.signature(self._placeholders) + [(token, 0) for token in row.tokens]

    def _forward(
        self, ids_bl: Tensor, positions_bl: Tensor, cache: Any, features: dict[str, list[Tensor]]
    ) -> Tensor:
        output = self._model(
            input_ids=ids_bl.to(self._device),
            position_ids=positions_bl.to(self._device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **{f"{kind}_features": items for kind, items in features.items()},
        )
        return output.logits[:, -1]

    def _enter(self, rows: Sequence[BatchRow], logits_bv: Tensor) -> None:
        """Rows whose prompt is read get their first token and their place below the others."""
        each = [RowSampling.of(row.settings, len(row.tokens), self._device) for row in rows]
        new = each[0]
        for one in each[1:]:
            new = new.joined(one)
        for row in rows:
            row.launched = len(row.tokens)
        tokens_b = self._pick(logits_bv, rows, new)
        positions_b = torch.full_like(tokens_b, len(rows[0]))
        self._sampling = new if self._sampling is None else self._sampling.joined(new)
        self._tokens_b = torch.cat([self._tokens_b, tokens_b])
        self._positions_b = torch.cat([self._positions_b, positions_b])
        self.rows.extend(rows)

    # --- steps ---

    def _launch(self) -> bool:
        """Begin a step, if some row may still have a token."""
        if all(row.launched >= row.settings.max_new_tokens for row in self.rows):
            return False
        if any(row.constraint is not None for row in self.rows) and self._steps:
            return False  # what may come next is known once the last token is
        sampling = self._sampling
        if sampling is None:
            return False
        longest = max(len(row.prompt) + row.launched for row in self.rows)
        scores_bv = self._scores(longest)
        self._tokens_b = self._pick(scores_bv, self.rows, sampling)
        self._positions_b = self._positions_b + 1
        return True

    def _scores(self, longest: int) -> Tensor:
        return self._held.scores(self._tokens_b, self._positions_b, longest)

    def _pick(self, logits_bv: Tensor, rows: Sequence[BatchRow], sampling: RowSampling) -> Tensor:
        """(B, V) -> (B,) tokens, which are on their way to the host when this returns."""
        scores_bv = logits_bv.to(self._device, torch.float32)
        if len(self._banned):
            scores_bv = scores_bv.index_fill(1, self._banned, float("-inf"))
        raw_bv = scores_bv
        penalised = any(row.settings.repetition_penalty != 1 for row in rows)
        if penalised:
            if sampling.seen is None:
                sampling.seen = _seen(rows, scores_bv)
            scores_bv = penalise(scores_bv, sampling.seen, sampling.penalty)
        if any(row.constraint is not None for row in rows):
            scores_bv = scores_bv.masked_fill(~_allowed(rows, scores_bv), float("-inf"))
        draws = any(not row.settings.greedy for row in rows)
        tokens_b = pick(scores_bv, sampling, draws=draws)
        sampling.drawn += 1
        if sampling.seen is not None:
            sampling.seen.scatter_(1, tokens_b[:, None], value=True)
        most = [row.top_logprobs for row in rows if row.top_logprobs is not None]
        likely = LikelyTokens(raw_bv, tokens_b, max(most)) if most else None
        self._steps.append(_Step(rows, tokens_b, likely))
        for row in rows:
            row.launched += 1
        return tokens_b

    def _resolved(self, keep: int) -> list[BatchRow]:
        """Read the tokens of all steps but the last `keep`."""
        went_on: list[BatchRow] = []
        while len(self._steps) > keep:
            step = self._steps.popleft()
            for place, (row, token) in enumerate(zip(step.rows, step.tokens(), strict=True)):
                if row.finish_reason is None and self._take(row, token, place, step.likely):
                    went_on.append(row)
        return went_on

    def _take(self, row: BatchRow, token: int, place: int, likely: LikelyTokens | None) -> bool:
        if token in self._stop_ids:
            row.finish_reason = "stop"
            return False
        if row.top_logprobs is not None and likely is not None:
            row.logprobs.append(likely.of(place, token, row.top_logprobs))
        if row.constraint is not None:
            row.constraint.accept(token)
        row.tokens.append(token)
        if len(row.tokens) >= row.settings.max_new_tokens:
            row.finish_reason = "length"
        return True

    def _drop_finished(self) -> None:
        """The last rows take the places of those that have ended."""
        order = list(range(len(self.rows)))
        place = 0
        while place < len(order):
            row = self.rows[order[place]]
            if row.finish_reason is None:
                place += 1
                continue
            self._keep_prefix(row, order[place])
            last = order.pop()
            if place < len(order):
                order[place] = last
        if len(order) == len(self.rows):
            return
        self._held.keep(order)
        self.rows = [self.rows[place] for place in order]
        order_b = torch.tensor(order, dtype=torch.long, device=self._device)
        self._tokens_b, self._positions_b = self._tokens_b[order_b], self._positions_b[order_b]
        self._sampling = self._sampling.kept(order_b) if self._sampling and order else None

    def _keep_prefix(self, row: BatchRow, place: int) -> None:
        """Every token but the last has been read."""
        if self._prefix is None or not row.tokens:
            return
        marks = self._marks(row)[:-1]
        cache = self._held.copy_of(place, len(marks))
        if cache is not None:
            self._prefix.keep(marks, cache)


def _seen(rows: Sequence[BatchRow], scores_bv: Tensor) -> Tensor:
    seen_bv = torch.zeros_like(scores_bv, dtype=torch.bool)
    for place, row in enumerate(rows):
        seen_bv[place, row.tokens] = True
    return seen_bv


def _allowed(rows: Sequence[BatchRow], scores_bv: Tensor) -> Tensor:
    vocabulary = scores_bv.shape[1]
    anything = torch.ones(vocabulary, dtype=torch.bool)
    each = [
        anything
        if row.constraint is None or row.finish_reason
        else row.constraint.allowed(vocabulary)
        for row in rows
    ]
    return torch.stack(each).to(scores_bv.device)
