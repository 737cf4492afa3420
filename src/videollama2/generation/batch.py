"""Continuous batching: rows join and leave between steps, and all that are there share each step.

Legend: b rows, p positions in the cache, v vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from videollama2.generation.logprobs import TokenLogprobs, token_logprobs
from videollama2.generation.prefix import can_crop, new_cache
from videollama2.generation.prompt import Prompt, features_from
from videollama2.generation.sampling import distribution, generator_of, penalise
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
    """

    prompt: Prompt
    settings: SamplingSettings
    constraint: Constraint | None = None
    top_logprobs: int | None = None
    tokens: list[int] = field(default_factory=list[int])
    logprobs: list[TokenLogprobs] = field(default_factory=list[TokenLogprobs])
    finish_reason: str | None = None
    generator: torch.Generator | None = None

    def __len__(self) -> int:
        """Positions of prompt and answer so far."""
        return len(self.prompt) + len(self.tokens)


class ContinuousBatch:
    """Rows of any length that are decoded together, each as it would be alone.

    `join` reads a prompt and writes the first token of its rows; `step` writes one more token of
    every row. Keys and values are padded on the left to one length and masked. A step that raises
    leaves the batch unusable and its rows as they were: they can join another one.

    A language model whose cache is not keys and values alone (recurrent states) takes one `join`
    only: `has_room` is then False.
    """

    def __init__(
        self,
        model: Any,
        *,
        stop_ids: frozenset[int] = frozenset(),
        banned_ids: frozenset[int] = frozenset(),
    ) -> None:
        self.rows: list[BatchRow] = []
        self._model = model
        self._device = model.get_input_embeddings().weight.device
        self._placeholders: dict[str, int] = model.model.media_token_ids()
        self._stop_ids = stop_ids
        self._banned = torch.tensor(sorted(banned_ids), dtype=torch.long, device=self._device)
        self._cache: Any = None
        self._mask_bp: Tensor = torch.ones(0, 0, dtype=torch.long, device=self._device)
        self._has_padding = False

    @property
    def has_room(self) -> bool:
        """Whether other rows can share steps with those that are there."""
        return not self.rows or can_crop(self._cache)

    def join(self, rows: Sequence[BatchRow]) -> list[BatchRow]:
        """Take in rows that begin alike (the same prompt, the same tokens written so far).

        Gives the rows that have a new token. What raises here leaves the batch as it was.

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
        for row in rows:
            if row.generator is None:
                row.generator = generator_of(row.settings, self._device)
        ids = [*first.prompt.input_ids, *first.tokens]
        cache = new_cache(self._model.config.text_config, croppable=True)
        with torch.inference_mode():
            logits_bv = self._forward(
                torch.tensor([ids]),
                torch.arange(len(ids))[None],
                None,
                cache,
                features_from(first.prompt, 0, self._placeholders),
            )
            if len(rows) > 1:
                cache.batch_repeat_interleave(len(rows))
            mask_bp = self._mask_bp.new_ones(len(rows), len(ids))
            went_on = self._pick(logits_bv.expand(len(rows), -1), rows)
            self._drop_finished()
            self._merge(cache, mask_bp)
        self.rows.extend(rows)
        return went_on

    def step(self) -> list[BatchRow]:
        """Write one more token of every row; gives those that have one, without stop tokens."""
        with torch.inference_mode():
            self._drop_finished()
            if not self.rows:
                return []
            self._mask_bp = pad(self._mask_bp, (0, 1), value=1)
            logits_bv = self._forward(
                torch.tensor([[*row.prompt.input_ids[-1:], *row.tokens][-1:] for row in self.rows]),
                torch.tensor([[len(row) - 1] for row in self.rows]),
                self._mask_bp if self._has_padding else None,
                self._cache,
                {},
            )
            return self._pick(logits_bv, self.rows)

    def _forward(
        self,
        ids_bl: Tensor,
        positions_bl: Tensor,
        mask_bp: Tensor | None,
        cache: Any,
        features: dict[str, list[Tensor]],
    ) -> Tensor:
        output = self._model(
            input_ids=ids_bl.to(self._device),
            attention_mask=mask_bp,
            position_ids=positions_bl.to(self._device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **{f"{kind}_features": items for kind, items in features.items()},
        )
        return output.logits[:, -1]

    def _pick(self, logits_bv: Tensor, rows: Sequence[BatchRow]) -> list[BatchRow]:
        scores_bv = logits_bv.to(self._device, torch.float32)
        if len(self._banned):
            scores_bv = scores_bv.index_fill(1, self._banned, float("-inf"))
        likeliest: Any = scores_bv.argmax(-1)
        picked: list[int] = likeliest.tolist()
        for place, row in enumerate(rows):
            if row.constraint or not row.settings.greedy or row.settings.repetition_penalty != 1:
                picked[place] = _pick_one(scores_bv[place], row)
        went_on: list[BatchRow] = []
        for place, (row, token) in enumerate(zip(rows, picked, strict=True)):
            if token in self._stop_ids:
                row.finish_reason = "stop"
                continue
            if row.top_logprobs is not None:
                row.logprobs.append(token_logprobs(scores_bv[place], token, row.top_logprobs))
            if row.constraint is not None:
                row.constraint.accept(token)
            row.tokens.append(token)
            went_on.append(row)
            if len(row.tokens) >= row.settings.max_new_tokens:
                row.finish_reason = "length"
        return went_on

    def _drop_finished(self) -> None:
        kept = [place for place, row in enumerate(self.rows) if row.finish_reason is None]
        if len(kept) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in kept]
        if not kept:
            self._cache, self._mask_bp = None, self._mask_bp.new_ones(0, 0)
            return
        places = torch.tensor(kept, device=self._device)
        self._cache.batch_select_indices(places)
        self._mask_bp = self._mask_bp[places]
        spare = int(self._mask_bp.argmax(1).min())  # columns that are padding in every row
        if spare and can_crop(self._cache):
            self._mask_bp = self._mask_bp[:, spare:]
            for layer in self._cache.layers:
                layer.keys, layer.values = layer.keys[:, :, spare:], layer.values[:, :, spare:]
        self._has_padding = not bool(self._mask_bp.all())

    def _merge(self, cache: Any, mask_bp: Tensor) -> None:
        """Put rows under those that are there, the shorter ones padded on the left."""
        if self._cache is None:
            self._cache, self._mask_bp, self._has_padding = cache, mask_bp, False
            return
        longest = max(self._mask_bp.shape[1], mask_bp.shape[1])
        for ours, theirs in zip(self._cache.layers, cache.layers, strict=True):
            ours.keys = _stacked(ours.keys, theirs.keys, longest)
            ours.values = _stacked(ours.values, theirs.values, longest)
        masks = [pad(mask, (longest - mask.shape[1], 0)) for mask in (self._mask_bp, mask_bp)]
        self._mask_bp = torch.cat(masks)
        self._has_padding = not bool(self._mask_bp.all())


def _pick_one(scores_v: Tensor, row: BatchRow) -> int:
    scores_v = penalise(scores_v, row.tokens, row.settings.repetition_penalty)
    if row.constraint is not None:
        allowed_v = row.constraint.allowed(len(scores_v)).to(scores_v.device)
        scores_v = scores_v.masked_fill(~allowed_v, float("-inf"))
    if row.settings.greedy:
        return int(scores_v.argmax())
    probabilities_v = distribution(scores_v, row.settings)
    return int(torch.multinomial(probabilities_v, 1, generator=row.generator))


def _stacked(first_bhpd: Tensor, second_bhpd: Tensor, longest: int) -> Tensor:
    padded = [pad(item, (0, 0, longest - item.shape[-2], 0)) for item in (first_bhpd, second_bhpd)]
    return torch.cat(padded)
