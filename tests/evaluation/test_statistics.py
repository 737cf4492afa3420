"""Intervals against scipy's bootstrap and against theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from videollama2.evaluation.statistics import compare, mean_interval


def test_one_question_a_video_as_scipy_has_it() -> None:
    values = np.random.default_rng(1).random(80)
    ours = mean_interval(values.tolist(), [str(n) for n in range(80)], resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    spread = theirs.high - theirs.low
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * spread)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * spread)


def test_clusters_as_scipy_has_them() -> None:
    """Videos of one to six questions that are right or wrong together."""
    random = np.random.default_rng(3)
    sizes = random.integers(1, 7, 60)
    right = random.random(60) < 0.6
    values = np.repeat(right, sizes).astype(float)
    units = [str(n) for n in np.repeat(np.arange(60), sizes)]
    ours = mean_interval(values.tolist(), units, resamples=20_000)
    theirs = stats.bootstrap(
        (right * sizes, sizes),
        lambda sums, counts, axis=-1: sums.sum(axis) / counts.sum(axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(4),
    ).confidence_interval
    spread = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * spread)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * spread)
    assert (ours.count, ours.units) == (len(values), 60)
    alone = mean_interval(values.tolist(), [str(n) for n in range(len(values))])
    assert alone.high - alone.low < ours.high - ours.low


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(5)
    units = [str(n) for n in range(60)]
    covered = 0
    for seed in range(400):
        draws = (random.random(60) < 0.5).astype(float).tolist()
        interval = mean_interval(draws, units, seed=seed, resamples=500)
        covered += interval.low <= 0.5 <= interval.high
    # A binomial of 400 at 0.95 stays within 4 standard errors; the percentile one is a bit narrow.
    assert 0.95 - 4 * math.sqrt(0.05 * 0.95 / 400) <= covered / 400 <= 1


def test_compare() -> None:
    random = np.random.default_rng(6)
    units = [str(n // 2) for n in range(400)]
    before = (random.random(400) < 0.5).astype(float)
    after = np.where(random.random(400) < 0.2, 1.0, before)
    found = compare(before.tolist(), after.tolist(), units)
    assert found.difference.value == pytest.approx(after.mean() - before.mean())
    assert found.difference.low > 0
    assert found.worse == 0
    back = compare(after.tolist(), before.tolist(), units)
    assert back.difference.value == pytest.approx(-found.difference.value)
    assert back.worse == 1
    same = compare(before.tolist(), before.tolist(), units)
    assert (same.difference.low, same.difference.high, same.worse) == (0, 0, 0.5)


def test_repeatable_and_refusing() -> None:
    assert mean_interval([0, 1, 1], ["a", "b", "c"], seed=1) == mean_interval(
        [0, 1, 1], ["a", "b", "c"], seed=1
    )
    for values, units in (([], []), ([1.0], ["a", "b"])):
        with pytest.raises(ValueError, match="one unit a value"):
            mean_interval(values, units)
    with pytest.raises(ValueError, match="zip"):
        compare([1.0], [1.0, 0.0], ["a"])


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from("abcdefg")), min_size=1, max_size=40))
def test_interval_lies_around_the_mean_within_the_values(pairs: list[tuple[float, str]]) -> None:
    values, units = [value for value, _ in pairs], [unit for _, unit in pairs]
    found = mean_interval(values, units, resamples=200)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    if len(set(units)) == 1:
        assert found.low == pytest.approx(found.value)


def test_groups_count_the_same() -> None:
    """A mean of two groups' means, as scipy has it where each is drawn for itself."""
    random = np.random.default_rng(7)
    large, small = random.random(300), random.random(20) + 1
    values = [*large, *small]
    groups = ["large"] * 300 + ["small"] * 20
    units = [str(n) for n in range(320)]
    ours = mean_interval(values, units, groups, resamples=20_000)
    assert ours.value == pytest.approx((large.mean() + small.mean()) / 2)
    theirs = stats.bootstrap(
        (large, small),
        lambda one, other, axis=-1: (one.mean(axis) + other.mean(axis)) / 2,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(8),
    ).confidence_interval
    spread = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * spread)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * spread)
    assert (ours.count, ours.units) == (320, 320)
