"""Which record comes when: lists mixed by ratio, every record of every list reached, seeded.

The order is a function of the position alone, so that a run goes on anywhere, on any number of
devices, with the order it would have had.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from videollama2.training.errors import TrainingError


@dataclass(frozen=True)
class Mixture:
    """Lists of so many records, mixed.

    With `ratio`, of each sum(ratio) records in a row list i gives ratio[i], in the order of the
    lists (the joint stage's 2:1:1 is audio-visual, audio-visual, audio, video; released code
    6.3); each list goes round by itself, in a new order each time. Without it all lists are one,
    in a new order each epoch.

    `pieces` says for a list how many records each of its shards holds: it is read shard by shard,
    in a new order of the shards each time and a new order within each.

    Raises:
        TrainingError: no list, an empty list, or a ratio that does not fit.
    """

    sizes: tuple[int, ...]
    ratio: tuple[int, ...] | None = None
    seed: int = 42
    pieces: tuple[tuple[int, ...] | None, ...] | None = None

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1:
            raise TrainingError(
                f"lists of {list(self.sizes)} records cannot be mixed: none is empty"
            )
        for size, pieces in zip(self.sizes, self._pieces(), strict=True):
            if sum(pieces) != size:
                raise TrainingError(f"shards of {sum(pieces)} records for a list of {size}")
        if self.ratio is None:
            return
        if len(self.ratio) != len(self.sizes) or min(self.ratio) < 1:
            raise TrainingError(
                f"data.ratio {list(self.ratio)} gives {len(self.ratio)} numbers for "
                f"{len(self.sizes)} lists: one whole number from 1 for each list"
            )

    @property
    def epoch_length(self) -> int:
        """Records until every record of every list has come at least once."""
        if self.ratio is None:
            return sum(self.sizes)
        rounds = max(-(-size // share) for size, share in zip(self.sizes, self.ratio, strict=True))
        return rounds * sum(self.ratio)

    def at(self, position: int) -> tuple[int, int]:
        """(list, record in it) at a position of the run, from 0 on without end.

        Raises:
            IndexError: the position is negative.
        """
        if position < 0:
            raise IndexError(position)
        if self.ratio is None:
            turn, place = divmod(position, sum(self.sizes))
            lists, places = _together(self.seed, turn, self._pieces())
            return int(lists[place]), int(places[place])
        rounds, slot = divmod(position, sum(self.ratio))
        chosen = 0
        while slot >= self.ratio[chosen]:
            slot -= self.ratio[chosen]
            chosen += 1
        turn, place = divmod(rounds * self.ratio[chosen] + slot, self.sizes[chosen])
        return chosen, int(_order(self.seed, chosen, turn, self._pieces()[chosen])[place])

    def _pieces(self) -> tuple[tuple[int, ...], ...]:
        given = self.pieces or (None,) * len(self.sizes)
        return tuple(own or (size,) for own, size in zip(given, self.sizes, strict=True))


@lru_cache(maxsize=16)
def _order(seed: int, chosen: int, turn: int, pieces: tuple[int, ...]) -> NDArray[np.int64]:
    """The order in which list `chosen` is read the `turn`-th time, piece by piece."""
    random = np.random.default_rng([seed, chosen, turn])
    if len(pieces) == 1:
        return random.permutation(pieces[0])
    starts = np.cumsum((0, *pieces))
    order = cast("list[int]", random.permutation(len(pieces)).tolist())
    shuffled = [starts[one] + random.permutation(pieces[one]) for one in order]
    return np.concatenate(shuffled)


@lru_cache(maxsize=2)
def _together(
    seed: int, turn: int, pieces: tuple[tuple[int, ...], ...]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(list, record in it) of every place of all lists' `turn`-th common order.

    Lists are spread evenly through each other; one in several pieces keeps to its own order.
    """
    starts = np.cumsum([0, *map(sum, pieces)])
    places = np.random.default_rng([seed, 0, turn]).permutation(int(starts[-1]))
    lists = (np.searchsorted(starts, places, "right") - 1).astype(np.int32)
    places -= starts[lists]
    for chosen, own in enumerate(pieces):
        if len(own) > 1:
            places[lists == chosen] = _order(seed, chosen, turn, own)
    return lists, places
