"""How likely a token was, and what else was likely."""

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


def token_logprobs(scores_v: Tensor, token: int, top: int) -> TokenLogprobs:
    """Of (V,) scores before temperature, penalty or constraint; `top` of the likeliest with it."""
    logprobs_v = torch.log_softmax(scores_v.float(), -1)
    likeliest: Any = logprobs_v.topk(min(top, len(logprobs_v)))
    pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return TokenLogprobs(token, float(logprobs_v[token]), tuple(pairs))
