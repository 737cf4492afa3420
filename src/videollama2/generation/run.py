"""The decode loop: one prefill, then one token a row and step.

Legend: b rows alive, l positions fed, p positions in the cache, v vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from videollama2.generation.prefix import PrefixCache, can_crop, new_cache
from videollama2.generation.prompt import Prompt, features_from
from videollama2.generation.sampling import Sampler
from videollama2.generation.settings import SamplingSettings


@dataclass
class Row:
    """One prompt being answered. `finish_reason` is None while it runs, then "stop" or "length"."""

    prompt: Prompt
    settings: SamplingSettings
    tokens: list[int] = field(default_factory=list[int])
    finish_reason: str | None = None


class DecodingRun:
    """Answers a batch of prompts, a token at a time.

    Call `step()` until it returns nothing. Rows of unequal length are padded on the left and
    masked; a row that ends no longer costs anything once half of the batch has ended. Breaking
    off between two steps is safe.

    With `prefix` (one prompt only), what the last run left there is used again as far as the
    prompts begin alike, and this run leaves its own there in `close()`.

    Raises:
        ValueError: no prompt, an empty one, or more than one with `prefix`.
        MediaTokenMismatchError: placeholders and media tokens differ in number (in `step`).
    """

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Prompt],
        settings: Sequence[SamplingSettings],
        *,
        stop_ids: frozenset[int] = frozenset(),
        banned_ids: frozenset[int] = frozenset(),
        prefix: PrefixCache | None = None,
    ) -> None:
        if not prompts or not all(len(prompt) for prompt in prompts):
            raise ValueError("there is no prompt, or it has no token: give at least one of each")
        if prefix is not None and len(prompts) != 1:
            raise ValueError(f"a prefix is kept for one row, not for {len(prompts)}")
        self.rows = [Row(*pair) for pair in zip(prompts, settings, strict=True)]
        self.reused_tokens = 0
        self._model = model
        self._device = model.get_input_embeddings().weight.device
        self._placeholders: dict[str, int] = model.model.media_token_ids()
        self._stop_ids = stop_ids
        self._sampler = Sampler(settings, sorted(banned_ids), self._device)
        self._prefix = prefix
        self._alive = list(range(len(prompts)))
        self._cache: Any = None
        self._mask_bp: Tensor | None = None
        self._fed = 0

    @property
    def running(self) -> list[int]:
        """The rows that are not finished."""
        return [row for row in self._alive if self.rows[row].finish_reason is None]

    def step(self) -> list[tuple[int, int]]:
        """Run one step: (row, token) for each row that went on; empty when all have finished.

        A stop token ends its row and is not returned.
        """
        if not self.running:
            return []
        prefix, self._prefix = self._prefix, None  # a step that raises leaves no cache behind
        with torch.inference_mode():
            logits_bv = self._next() if self._fed else self._prefill(prefix)
            picked = self._sampler.pick(
                logits_bv, self._alive, [self.rows[row].tokens for row in self._alive]
            )
        self._prefix = prefix
        went_on: list[tuple[int, int]] = []
        for row, token in zip(self._alive, picked, strict=True):
            state = self.rows[row]
            if state.finish_reason is not None:
                continue
            if token in self._stop_ids:
                state.finish_reason = "stop"
                continue
            state.tokens.append(token)
            went_on.append((row, token))
            if len(state.tokens) >= state.settings.max_new_tokens:
                state.finish_reason = "length"
        return went_on

    def finish(self, row: int) -> None:
        """End a row from outside, as a stop string does."""
        self.rows[row].finish_reason = "stop"

    def close(self) -> None:
        """Leave the cache to the next run with the same `prefix`; none after an error."""
        if self._prefix is None or not self._fed or not can_crop(self._cache):
            return
        state = self.rows[0]
        marks = state.prompt.signature(self._placeholders)
        marks += [(token, 0) for token in state.tokens]
        self._prefix.put(self._cache, marks[: self._fed])

    def _prefill(self, prefix: PrefixCache | None) -> Tensor:
        prompts = [row.prompt for row in self.rows]
        shared = 0
        cache = None
        if prefix is not None:
            cache, shared = prefix.take(prompts[0].signature(self._placeholders))
        if cache is None:
            cache = new_cache(self._model.config.text_config, croppable=prefix is not None)
        longest = max(len(prompt) for prompt in prompts)
        ids_bl = torch.zeros(len(prompts), longest - shared, dtype=torch.long)
        mask_bp = torch.zeros(len(prompts), longest, dtype=torch.long)
        features: dict[str, list[Tensor]] = {}
        for place, prompt in enumerate(prompts):
            fed = prompt.input_ids[shared:]
            ids_bl[place, longest - shared - len(fed) :] = torch.tensor(fed)
            mask_bp[place, longest - len(prompt) :] = 1
            for kind, items in features_from(prompt, shared, self._placeholders).items():
                features.setdefault(kind, []).extend(items)
        if not bool(mask_bp.all()):
            self._mask_bp = mask_bp.to(self._device)
        positions_bl = (mask_bp.cumsum(1) - 1).clamp(min=0)[:, shared:]
        self.reused_tokens = shared
        logits_bv = self._forward(ids_bl, positions_bl, cache, features)
        self._cache, self._fed = cache, longest
        return logits_bv

    def _next(self) -> Tensor:
        self._drop_finished()
        alive = [self.rows[row] for row in self._alive]
        last = torch.tensor([[*row.prompt.input_ids[-1:], *row.tokens][-1:] for row in alive])
        positions = torch.tensor([[len(row.prompt) + len(row.tokens) - 1] for row in alive])
        if self._mask_bp is not None:
            more = self._mask_bp.new_ones(len(self._alive), 1)
            self._mask_bp = torch.cat([self._mask_bp, more], 1)
        logits_bv = self._forward(last, positions, self._cache, {})
        self._fed += 1
        return logits_bv

    def _forward(
        self,
        ids_bl: Tensor,
        positions_bl: Tensor,
        cache: Any,
        features: dict[str, list[Tensor]],
    ) -> Tensor:
        output = self._model(
            input_ids=ids_bl.to(self._device),
            attention_mask=self._mask_bp,
            position_ids=positions_bl.to(self._device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **{f"{kind}_features": items for kind, items in features.items()},
        )
        return output.logits[:, -1]

    def _drop_finished(self) -> None:
        """Shrink the batch to its running rows, once they are at most half of it."""
        running = self.running
        if 2 * len(running) > len(self._alive):
            return
        kept = torch.tensor([self._alive.index(row) for row in running], device=self._device)
        self._cache.batch_select_indices(kept)
        if self._mask_bp is not None:
            self._mask_bp = self._mask_bp[kept]
        self._alive = running
