"""Which token comes next."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from videollama2.generation.sampling import Sampler, distribution, penalise
from videollama2.generation.settings import SamplingSettings

SCORES = st.lists(
    st.integers(-400, 400).map(lambda tenth: tenth / 40), min_size=3, max_size=40, unique=True
)


@given(SCORES, st.floats(0.2, 3.0), st.floats(0.05, 1.0), st.integers(0, 10))
def test_distribution_is_transformers(
    values: list[float], temperature: float, top_p: float, top_k: int
) -> None:
    scores = torch.tensor(values)
    settings = SamplingSettings(temperature=temperature, top_p=top_p, top_k=top_k)
    warped = TemperatureLogitsWarper(temperature)(None, scores[None])  # type: ignore[arg-type]
    if top_k:
        warped = TopKLogitsWarper(top_k)(None, warped)  # type: ignore[arg-type]
    if top_p < 1:
        warped = TopPLogitsWarper(top_p)(None, warped)  # type: ignore[arg-type]
    expected = torch.softmax(warped[0], -1)
    ours = distribution(scores, settings)
    if int((ours > 0).sum()) != int((expected > 0).sum()):  # top_p met to the last float bit
        return
    torch.testing.assert_close(ours, expected)


@given(SCORES, st.floats(0.05, 1.0))
def test_top_p_keeps_the_smallest_set_that_holds_it(values: list[float], top_p: float) -> None:
    scores = torch.tensor(values)
    whole = torch.softmax(scores, -1)
    kept = distribution(scores, SamplingSettings(temperature=1.0, top_p=top_p)) > 0
    mass = float(whole[kept].sum())
    assert mass >= top_p - 1e-5
    assert mass - float(whole[kept].min()) < top_p + 1e-5


@given(SCORES, st.floats(0.5, 2.0))
def test_penalty_is_transformers(values: list[float], penalty: float) -> None:
    scores = torch.tensor(values)
    past = [2, 0, 2]
    expected = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([past]), scores[None].clone())
    torch.testing.assert_close(penalise(scores, past, penalty), expected[0])


def test_draws_follow_the_distribution() -> None:
    scores = torch.tensor([1.0, 0.0, 2.0])
    settings = SamplingSettings(temperature=1.0, top_p=1.0, seed=3)
    sampler = Sampler([settings], [], torch.device("cpu"))
    drawn = [sampler.pick(scores[None], [0], [[]])[0] for _ in range(4000)]
    shares = torch.bincount(torch.tensor(drawn)) / len(drawn)
    torch.testing.assert_close(shares, torch.softmax(scores, -1), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"repetition_penalty": 0.0},
        {"stop_strings": ("",)},
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        SamplingSettings(**wrong)  # type: ignore[arg-type]
