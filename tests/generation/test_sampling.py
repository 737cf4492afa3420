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

from videollama2.generation.sampling import (
    RowSampling,
    distribution,
    penalise,
    pick,
    uniform,
)
from videollama2.generation.settings import SamplingSettings

SCORES = st.lists(
    st.integers(-400, 400).map(lambda tenth: tenth / 40), min_size=3, max_size=40, unique=True
)


def rows_of(*settings: SamplingSettings) -> RowSampling:
    each = [RowSampling.of(one, 0, torch.device("cpu")) for one in settings]
    rows = each[0]
    for one in each[1:]:
        rows = rows.joined(one)
    return rows


def probabilities(scores: torch.Tensor, settings: SamplingSettings) -> torch.Tensor:
    sorted_bv, order_bv = distribution(scores[None], rows_of(settings))
    return torch.zeros_like(sorted_bv).scatter(1, order_bv, sorted_bv)[0]


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
    ours = probabilities(scores, settings)
    if int((ours > 0).sum()) != int((expected > 0).sum()):  # top_p met to the last float bit
        return
    torch.testing.assert_close(ours, expected)


@given(SCORES, st.floats(0.05, 1.0))
def test_top_p_keeps_the_smallest_set_that_holds_it(values: list[float], top_p: float) -> None:
    scores = torch.tensor(values)
    whole = torch.softmax(scores, -1)
    kept = probabilities(scores, SamplingSettings(temperature=1.0, top_p=top_p)) > 0
    mass = float(whole[kept].sum())
    assert mass >= top_p - 1e-5
    assert mass - float(whole[kept].min()) < top_p + 1e-5


@given(SCORES, st.floats(0.5, 2.0))
def test_penalty_is_transformers(values: list[float], penalty: float) -> None:
    scores = torch.tensor(values)
    past = [2, 0, 2]
    expected = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([past]), scores[None].clone())
    seen = torch.zeros(1, len(values), dtype=torch.bool)
    seen[0, past] = True
    ours = penalise(scores[None], seen, torch.tensor([penalty]))
    torch.testing.assert_close(ours, expected)


def test_draws_follow_the_distribution() -> None:
    scores = torch.tensor([1.0, 0.0, 2.0])
    settings = SamplingSettings(temperature=1.0, top_p=1.0, seed=3)
    rows = rows_of(*[settings] * 4000)
    rows.drawn = torch.arange(4000)
    drawn = pick(scores.expand(4000, 3), rows, draws=True)
    shares = torch.bincount(drawn) / len(drawn)
    torch.testing.assert_close(shares, torch.softmax(scores, -1), atol=0.03, rtol=0)


def test_numbers_drawn_are_even_and_apart() -> None:
    """Of one seed, and of neighbouring seeds at the same place: by Kolmogorov and Smirnov."""
    from scipy.stats import kstest

    count = torch.arange(20_000)
    for drawn in (uniform(torch.tensor(7), count), uniform(count, torch.tensor(3))):
        assert float(drawn.min()) >= 0
        assert float(drawn.max()) < 1
        assert kstest(drawn.numpy(), "uniform").pvalue > 0.001
        assert abs(float(torch.corrcoef(torch.stack([drawn[1:], drawn[:-1]]))[0, 1])) < 0.03


def test_numbers_drawn_are_splitmix() -> None:
    """SplitMix64 with seed 1234567, as its reference implementation gives it."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    drawn = uniform(torch.tensor([1234567] * 3), torch.arange(3))
    assert [int(value * 2**24) for value in drawn.tolist()] == [one >> 40 for one in expected]


def test_rows_of_every_kind_share_a_step() -> None:
    scores = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    settings = [
        SamplingSettings(),
        SamplingSettings(temperature=1.0, top_p=1.0, seed=1),
        SamplingSettings(temperature=2.0, top_k=3, top_p=0.5, seed=2),
        SamplingSettings(temperature=0.7, seed=3),
    ]
    together = pick(scores, rows_of(*settings), draws=True)
    alone = [
        pick(scores[place : place + 1], rows_of(one), draws=not one.greedy)[0]
        for place, one in enumerate(settings)
    ]
    assert together.tolist() == [int(one) for one in alone]
    assert int(together[0]) == int(scores[0].argmax())


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
