"""Mixing lists: every record reached, the ratio kept, the order a matter of position alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.training.errors import TrainingError
from videollama2.training.mixture import Mixture

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=4)


@st.composite
def mixtures(draw: st.DrawFn) -> Mixture:
    sizes = draw(SIZES)
    ratio = draw(st.none() | st.lists(st.integers(1, 4), min_size=len(sizes), max_size=len(sizes)))
    pieces = tuple(draw(st.none() | shards(size)) for size in sizes)
    seed = draw(st.integers(0, 99))
    return Mixture(tuple(sizes), None if ratio is None else tuple(ratio), seed, pieces)


@st.composite
def shards(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    cuts = sorted(draw(st.lists(st.integers(0, size), max_size=4)))
    return tuple(b - a for a, b in zip([0, *cuts], [*cuts, size], strict=True))


@given(mixtures())
def test_every_record_of_every_list_in_an_epoch(mixture: Mixture) -> None:
    drawn = Counter(mixture.at(position) for position in range(mixture.epoch_length))
    everything = {(i, j) for i, size in enumerate(mixture.sizes) for j in range(size)}
    assert set(drawn) == everything
    for chosen in range(len(mixture.sizes)):
        times = [count for (i, _), count in drawn.items() if i == chosen]
        assert max(times) - min(times) <= 1
    if mixture.ratio is None:
        assert set(drawn.values()) == {1}


@given(mixtures(), st.integers(0, 200))
def test_the_ratio_holds_in_every_round(mixture: Mixture, rounds: int) -> None:
    if mixture.ratio is None:
        return
    share = sum(mixture.ratio)
    drawn = [mixture.at(rounds * share + slot)[0] for slot in range(share)]
    assert drawn == [i for i, count in enumerate(mixture.ratio) for _ in range(count)]


@given(mixtures(), st.integers(0, 1000))
def test_the_order_is_a_matter_of_position(mixture: Mixture, position: int) -> None:
    again = Mixture(mixture.sizes, mixture.ratio, mixture.seed, mixture.pieces)
    for earlier in (0, 7, position):
        again.at(earlier)
    assert again.at(position) == mixture.at(position)


def test_the_joint_stage_in_its_released_order() -> None:
    """Released `MixSampler`: AV i, AV i+1, audio, video; 2:1:1; all lists read to their ends."""
    joint = Mixture((8, 4, 4), (2, 1, 1), seed=1)
    assert joint.epoch_length == 16
    assert [joint.at(position)[0] for position in range(8)] == [0, 0, 1, 2, 0, 0, 1, 2]
    longer = Mixture((8, 9, 4), (2, 1, 1), seed=1)
    assert longer.epoch_length == 36


@given(mixtures())
def test_shard_after_shard(mixture: Mixture) -> None:
    """A list in pieces leaves one for the next only when it is through with it."""
    for chosen, pieces in enumerate(mixture.pieces or ()):
        if not pieces:
            continue
        own = [place for i, place in map(mixture.at, range(mixture.epoch_length)) if i == chosen]
        ends = [sum(pieces[: index + 1]) for index in range(len(pieces))]
        shard = [next(n for n, end in enumerate(ends) if place < end) for place in own]
        once = shard[: sum(pieces)]
        changes = [b for a, b in zip([None, *once], once, strict=False) if a != b]
        assert len(changes) == len(set(changes))


def test_shards_come_in_a_new_order() -> None:
    mixture = Mixture((40,), None, 7, ((10, 10, 10, 10),))
    orders = [[mixture.at(e * 40 + p)[1] // 10 for p in range(0, 40, 10)] for e in range(4)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert sorted(mixture.at(p)[1] for p in range(10)) != [mixture.at(p)[1] for p in range(10)]


def test_shards_among_lists_are_spread_evenly() -> None:
    mixture = Mixture((600, 600), None, 7, ((100,) * 6, None))
    drawn = [mixture.at(position)[0] for position in range(1200)]
    for start in range(0, 1200, 200):
        assert 60 < sum(drawn[start : start + 200]) < 140


@pytest.mark.parametrize("ratio", [None, (1, 1)])
def test_each_epoch_has_an_order_of_its_own(ratio: tuple[int, ...] | None) -> None:
    mixture = Mixture((20, 20), ratio, seed=3)
    length = mixture.epoch_length
    first, second = ([mixture.at(e * length + p) for p in range(length)] for e in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second)
    assert first != sorted(first)
    other = Mixture((20, 20), ratio, seed=4)
    assert [other.at(p) for p in range(length)] != first


@pytest.mark.parametrize(
    ("sizes", "ratio"), [((), None), ((3, 0), None), ((3, 3), (1,)), ((3, 3), (1, 0))]
)
def test_what_cannot_be_mixed(sizes: tuple[int, ...], ratio: tuple[int, ...] | None) -> None:
    with pytest.raises(TrainingError):
        Mixture(sizes, ratio)
