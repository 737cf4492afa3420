"""How likely a token was, and what else was likely.

Legend: b rows, k likeliest, v vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenLogprobs:
    """Natural logarithms: of the `token` taken, and of the likeliest, as (token, logarithm)."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class LikelyTokens:
    """Of (B, V) scores before temperature, penalty or constraint: what was likely in each row.

    Computed where the scores are; nothing is read before `of` asks for it.
    """

    def __init__(self, scores_bv: Tensor, tokens_b: Tensor, most: int) -> None:
        logprobs_bv = torch.log_softmax(scores_bv.float(), -1)
        self._taken_b = logprobs_bv.gather(1, tokens_b[:, None])[:, 0]
        self._top_bk = logprobs_bv.topk(min(most, logprobs_bv.shape[1]))

    def of(self, place: int, token: int, top: int) -> TokenLogprobs:
        """The row at `place`, whose `token` was taken, with `top` of the likeliest."""
        likeliest: Any = self._top_bk
        ids: list[int] = likeliest.indices[place, :top].tolist()
        values: list[float] = likeliest.values[place, :top].tolist()
        pairs = zip(ids, values, strict=True)
        return TokenLogprobs(token, float(self._taken_b[place]), tuple(pairs))
