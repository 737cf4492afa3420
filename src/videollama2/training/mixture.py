"""Which record comes when: lists mixed by ratio, every record of every list reached, seeded.

The order is a function of the position alone, so that a run goes on anywhere, on any number of
devices, with the order it would have had.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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

    Raises:
        TrainingError: no list, an empty list, or a ratio that does not fit.
    """

    sizes: tuple[int, ...]
    ratio: tuple[int, ...] | None = None
    seed: int = 42

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1:
            raise TrainingError(
                f"lists of {list(self.sizes)} records cannot be mixed: none is empty"
            )
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
            return self._split(int(_order(self.seed, 0, turn, sum(self.sizes))[place]))
        rounds, slot = divmod(position, sum(self.ratio))
        chosen = 0
        while slot >= self.ratio[chosen]:
            slot -= self.ratio[chosen]
            chosen += 1
        turn, place = divmod(rounds * self.ratio[chosen] + slot, self.sizes[chosen])
        return chosen, int(_order(self.seed, chosen, turn, self.sizes[chosen])[place])

    def _split(self, index: int) -> tuple[int, int]:
        chosen = 0
        while index >= self.sizes[chosen]:
            index -= self.sizes[chosen]
            chosen += 1
        return chosen, index


@lru_cache(maxsize=16)
def _order(seed: int, chosen: int, turn: int, size: int) -> NDArray[np.int64]:
    """The order in which list `chosen` is read the `turn`-th time."""
    return np.random.default_rng([seed, chosen, turn]).permutation(size)
