"""Scores of the next token -> the next token of every row, on the device and without waiting.

What a row draws is decided by its seed and its number of tokens alone, whatever else is in the
batch and whichever device computes.

Legend: b rows, v vocabulary.
"""

import secrets
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from videollama2.generation.settings import SamplingSettings


@dataclass
class RowSampling:
    """What each row (B,) is decoded with; `seen` (B, V) are the tokens that it has, if it matters.

    `temperature` 0 is greedy, `top_k` 0 is off; `drawn` counts the tokens that the row has.
    """

    temperature: Tensor
    top_p: Tensor
    top_k: Tensor
    penalty: Tensor
    seed: Tensor
    drawn: Tensor
    seen: Tensor | None = None

    @classmethod
    def of(cls, settings: SamplingSettings, drawn: int, device: torch.device) -> "RowSampling":
        """One row that has `drawn` tokens; a seed is made up where there is none."""
        seed = secrets.randbits(62) if settings.seed is None else settings.seed % 2**62

        def one(value: float) -> Tensor:
            return torch.tensor([value], device=device)

        return cls(
            one(settings.temperature),
            one(settings.top_p),
            one(settings.top_k),
            one(settings.repetition_penalty),
            one(seed),
            one(drawn),
        )

    def joined(self, other: "RowSampling") -> "RowSampling":
        """The rows of both, `other`'s below; what they have seen is to be found again."""
        pairs = [(getattr(self, name), getattr(other, name)) for name in _PER_ROW]
        return RowSampling(*(torch.cat(pair) for pair in pairs))

    def kept(self, order_b: Tensor) -> "RowSampling":
        """Row i is what row `order_b[i]` was."""
        seen = None if self.seen is None else self.seen[order_b]
        return RowSampling(*(getattr(self, name)[order_b] for name in _PER_ROW), seen=seen)


_PER_ROW = tuple(field.name for field in fields(RowSampling) if field.name != "seen")


def pick(scores_bv: Tensor, rows: RowSampling, *, draws: bool) -> Tensor:
    """(B, V) scores -> (B,) tokens. Without `draws` every row is greedy, which is cheaper."""
    if not draws:
        return scores_bv.argmax(-1)
    probabilities_bv, order_bv = distribution(scores_bv, rows)
    heights_bv = probabilities_bv.cumsum(-1)
    level_b = uniform(rows.seed, rows.drawn) * heights_bv[:, -1]
    places_b = (heights_bv <= level_b[:, None]).sum(-1)
    last_b = (probabilities_bv > 0).sum(-1) - 1
    drawn_b = order_bv.gather(1, places_b.minimum(last_b)[:, None])[:, 0]
    return torch.where(rows.temperature > 0, drawn_b, scores_bv.argmax(-1))


def penalise(scores_bv: Tensor, seen_bv: Tensor, penalty_b: Tensor) -> Tensor:
    """(B, V) scores with those of `seen_bv` tokens lowered (CTRL, Keskar et al., 2019)."""
    penalty = penalty_b[:, None]
    lowered = torch.where(scores_bv < 0, scores_bv * penalty, scores_bv / penalty)
    return torch.where(seen_bv, lowered, scores_bv)


def distribution(scores_bv: Tensor, rows: RowSampling) -> tuple[Tensor, Tensor]:
    """(B, V) scores -> probabilities, likeliest first, and the tokens that they are of.

    Of the `top_k` likeliest, then of the fewest that hold `top_p`; the others have none.
    """
    temperature = torch.where(rows.temperature > 0, rows.temperature, 1.0)
    scaled_bv = scores_bv / temperature[:, None]
    probabilities, order_bv = torch.softmax(scaled_bv, -1).sort(descending=True)
    ranks_v = torch.arange(scores_bv.shape[1], device=scores_bv.device)
    top_k = torch.where(rows.top_k > 0, rows.top_k, scores_bv.shape[1])
    probabilities = probabilities * (ranks_v < top_k[:, None])
    probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    before = probabilities.cumsum(-1) - probabilities
    kept = probabilities.masked_fill(before >= rows.top_p[:, None], 0)
    return kept / kept.sum(-1, keepdim=True), order_bv


def uniform(seed_b: Tensor, count_b: Tensor) -> Tensor:
    """(B,) numbers in [0, 1), one for each seed and count: SplitMix64 (Steele et al., 2014).

    The same on every device, and of a row alone: integers wrap at 64 bits wherever they are.
    """
    mixed = seed_b + (count_b + 1) * -7046029254386353131  # 0x9E3779B97F4A7C15
    mixed = (mixed ^ _shifted(mixed, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    mixed = (mixed ^ _shifted(mixed, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    mixed = mixed ^ _shifted(mixed, 31)
    return _shifted(mixed, 40).to(torch.float32) * 2.0**-24


def _shifted(bits_b: Tensor, places: int) -> Tensor:
    """To the right, zeros coming in: a shift of signed integers brings in their sign."""
    return (bits_b >> places) & ((1 << (64 - places)) - 1)
