"""How sure a mean is: bootstrap intervals that draw whole videos, and two runs compared in pairs.

Legend: c videos, r resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4_000
LEVEL = 0.95
_AT_ONCE = 1 << 22  # drawn numbers held in memory


@dataclass(frozen=True)
class Interval:
    """A mean over `count` questions of `units` videos, and its percentile interval."""

    value: float
    low: float
    high: float
    count: int
    units: int


@dataclass(frozen=True)
class Comparison:
    """The mean difference of two runs over the questions that both scored, second minus first.

    `worse` is the share of resamples in which the second is not better (half of the ties):
    near 0 it is surely better, near 1 surely worse.
    """

    first: float
    second: float
    difference: Interval
    worse: float


def mean_interval(
    values: Sequence[float],
    units: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """The mean of `values`, and where it would fall with other videos.

    Videos are drawn with replacement, each with all of its questions (Field and Welsh 2007, the
    cluster bootstrap); the interval is between percentiles of the means. One video alone says
    nothing of others: its interval is the point. With `groups`, one a value, it is the mean of the
    groups' means; videos are then drawn within each group.

    Raises:
        ValueError: no value, or not one unit (and one group) a value.
    """
    means, value = _means(values, units, groups or [""] * len(values), seed, resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), len(values), len(set(units)))


def compare(
    first: Sequence[float],
    second: Sequence[float],
    units: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Two runs on the same questions, question by question.

    Raises:
        ValueError: no value, or the lengths differ.
    """
    pairs = zip(first, second, strict=True)
    differences = [after - before for before, after in pairs]
    interval = mean_interval(differences, units, seed=seed, resamples=resamples)
    means = _resampled(differences, units, seed, resamples)
    worse = float((means < 0).mean() + (means == 0).mean() / 2)
    return Comparison(float(np.mean(first)), float(np.mean(second)), interval, worse)


def _means(
    values: Sequence[float],
    units: Sequence[str],
    groups: Sequence[str],
    seed: int,
    resamples: int,
) -> tuple[NDArray[np.float64], float]:
    """(r,) resampled means, each group counting the same, and the mean itself."""
    if not values or len(values) != len(units) or len(values) != len(groups):
        raise ValueError(f"{len(values)} values of {len(units)} units: give one unit a value")
    members: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    means = [
        _resampled([values[n] for n in places], [units[n] for n in places], seed + turn, resamples)
        for turn, places in enumerate(members.values())
    ]
    own = [np.mean([values[n] for n in places]) for places in members.values()]
    return np.mean(means, axis=0), float(np.mean(own))


def _resampled(
    values: Sequence[float], units: Sequence[str], seed: int, resamples: int
) -> NDArray[np.float64]:
    """(r,) means of resampled videos."""
    if not values or len(values) != len(units):
        raise ValueError(f"{len(values)} values of {len(units)} units: give one unit a value")
    places: dict[str, int] = {}
    owner = np.array([places.setdefault(unit, len(places)) for unit in units])
    sums_c = np.bincount(owner, np.asarray(values, np.float64))
    counts_c = np.bincount(owner)
    random = np.random.default_rng(seed)
    clusters = len(places)
    means: list[NDArray[np.float64]] = []
    at_once = max(_AT_ONCE // clusters, 1)
    for done in range(0, resamples, at_once):
        size = (min(at_once, resamples - done), clusters)
        drawn_rc = random.integers(0, clusters, size)
        means.append(sums_c[drawn_rc].sum(1) / counts_c[drawn_rc].sum(1))
    return np.concatenate(means)
