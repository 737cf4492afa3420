"""Keys and values kept from one turn to the next, as far as both turns begin alike."""

from collections.abc import Sequence
from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

Mark = tuple[int, int]


class PrefixCache:
    """The cache of the last prompt and answer, lent to the next run.

    While a run has it, this is empty: a run that breaks off in the middle of a step (Ctrl-C)
    leaves nothing half-written behind.
    """

    def __init__(self) -> None:
        self._cache: DynamicCache | None = None
        self._marks: list[Mark] = []

    def __len__(self) -> int:
        """How many positions are kept."""
        return len(self._marks)

    def take(self, marks: Sequence[Mark]) -> tuple[DynamicCache | None, int]:
        """The cache cut to what it shares with `marks`, and how many positions that is.

        At least the last position is left to be run, since its scores are what is wanted.
        """
        cache, held = self._cache, self._marks
        self.clear()
        if cache is None:
            return None, 0
        shared = common_length(held, marks[:-1])
        if shared == 0:
            return None, 0
        if shared < len(held):
            cache.crop(shared - len(held))  # a negative number is how many to drop
        return cache, shared

    def put(self, cache: DynamicCache, marks: Sequence[Mark]) -> None:
        """Keep `cache`, which holds exactly the positions `marks`."""
        self._cache, self._marks = cache, list(marks)

    def clear(self) -> None:
        """Forget everything."""
        self._cache, self._marks = None, []


def common_length(first: Sequence[Mark], second: Sequence[Mark]) -> int:
    """How many positions two rows share from the start."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return min(len(first), len(second))


def new_cache(text_config: Any, *, croppable: bool) -> DynamicCache:
    """An empty cache for a language model.

    A sliding window drops what a shorter prefix would need again, so a cache to be cropped keeps
    all positions; the window is then in the attention mask alone.
    """
    cache = DynamicCache(config=text_config)
    return DynamicCache() if croppable and can_crop(cache) else cache


def can_crop(cache: DynamicCache) -> bool:
    """Whether every layer attends over keys and values (a recurrent state cannot go back)."""
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers)
