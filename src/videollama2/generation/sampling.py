"""Scores of the next token -> the next token, one row at a time so that rows never mix.

Legend: b rows, v vocabulary.
"""

import secrets
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from videollama2.generation.settings import SamplingSettings


class Sampler:
    """Picks the next token of each row of a batch.

    `banned` ids are never picked (the media placeholders: they stand for no text).
    """

    def __init__(
        self, settings: Sequence[SamplingSettings], banned: Sequence[int], device: torch.device
    ) -> None:
        self._settings = list(settings)
        self._device = device
        self._banned = torch.tensor(sorted(banned), dtype=torch.long, device=device)
        self._generators = [generator_of(row, device) for row in settings]

    def pick(
        self, logits_bv: Tensor, rows: Sequence[int], past: Sequence[Sequence[int]]
    ) -> list[int]:
        """(B, V) scores of the rows `rows` -> a token each; `past` is what each has generated."""
        scores = logits_bv.to(self._device, torch.float32)
        if len(self._banned):
            scores = scores.index_fill(1, self._banned, float("-inf"))
        if any(self._settings[row].repetition_penalty != 1 for row in rows):
            penalties = [self._settings[row].repetition_penalty for row in rows]
            scores = torch.stack(
                [penalise(*each) for each in zip(scores, past, penalties, strict=True)]
            )
        picked = scores.argmax(-1)
        for place, row in enumerate(rows):
            settings = self._settings[row]
            if not settings.greedy:
                probabilities = distribution(scores[place], settings)
                picked[place] = torch.multinomial(
                    probabilities, 1, generator=self._generators[row]
                )[0]
        tokens: Any = picked
        return tokens.tolist()


def penalise(scores_v: Tensor, past: Sequence[int], penalty: float) -> Tensor:
    """(V,) scores with those of `past` tokens lowered (CTRL, Keskar et al., 2019)."""
    if penalty == 1.0 or not past:
        return scores_v
    seen = torch.tensor(sorted(set(past)), dtype=torch.long, device=scores_v.device)
    values = scores_v[seen]
    return scores_v.index_copy(0, seen, torch.where(values < 0, values * penalty, values / penalty))


def distribution(scores_v: Tensor, settings: SamplingSettings) -> Tensor:
    """(V,) scores -> (V,) probabilities, of the `top_k` likeliest, then of `top_p`."""
    probabilities, order = torch.softmax(scores_v / settings.temperature, -1).sort(descending=True)
    if settings.top_k:
        probabilities[settings.top_k :] = 0
        probabilities = probabilities / probabilities.sum()
    before = probabilities.cumsum(-1) - probabilities
    kept = probabilities.masked_fill(before >= settings.top_p, 0)
    return torch.zeros_like(kept).index_copy(0, order, kept / kept.sum())


def generator_of(settings: SamplingSettings, device: torch.device) -> torch.Generator | None:
    """What one row draws with: from its seed, or from a new one; None where nothing is drawn."""
    if settings.greedy:
        return None
    generator = torch.Generator(device=device)
    return generator.manual_seed(secrets.randbits(63) if settings.seed is None else settings.seed)
