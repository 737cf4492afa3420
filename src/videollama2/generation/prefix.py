"""Keys and values of what was read before, for prompts that begin alike.

Turns of a conversation, and many questions about one clip, share most of what they say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

Mark = tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Kept:
    marks: list[Mark]
    layers: list[tuple[Tensor, Tensor]]

    @property
    def nbytes(self) -> int:
        return sum(keys.nbytes + values.nbytes for keys, values in self.layers)


class PrefixCache:
    """What was read last, at most `max_bytes` of it; what was not used for longest goes.

    What is kept is never written to: any number of runs may read it, and one that breaks off
    leaves nothing half-written behind. One entry larger than all is not kept.
    """

    def __init__(self, max_bytes: int = 2**30) -> None:
        self._max_bytes = max_bytes
        self._kept: list[_Kept] = []  # what was used last is last

    def __len__(self) -> int:
        """How many positions are kept."""
        return sum(len(one.marks) for one in self._kept)

    @property
    def held_bytes(self) -> int:
        """Bytes of the keys and values kept."""
        return sum(one.nbytes for one in self._kept)

    def find(self, marks: Sequence[Mark]) -> tuple[DynamicCache | None, int]:
        """A cache of the longest beginning shared with `marks`, and how many positions that is.

        At least the last position is left to be run, since its scores are what is wanted.
        """
        best, shared = None, 0
        for one in self._kept:
            length = common_length(one.marks, marks[:-1])
            if length > shared:
                best, shared = one, length
        if best is None:
            return None, 0
        self._kept.remove(best)
        self._kept.append(best)
        return cache_of([(k[:, :, :shared], v[:, :, :shared]) for k, v in best.layers]), shared

    def keep(self, marks: Sequence[Mark], cache: DynamicCache) -> None:
        """Keep `cache`, which holds exactly the positions `marks`; entries it begins with go."""
        layers: Any = cache.layers
        new = _Kept(list(marks), [(layer.keys, layer.values) for layer in layers])
        if any(one.marks[: len(new.marks)] == new.marks for one in self._kept):
            return
        self._kept = [one for one in self._kept if one.marks != new.marks[: len(one.marks)]]
        if new.nbytes <= self._max_bytes:
            self._kept.append(new)
        while self.held_bytes > self._max_bytes:
            self._kept.pop(0)

    def clear(self) -> None:
        """Forget everything."""
        self._kept = []


def common_length(first: Sequence[Mark], second: Sequence[Mark]) -> int:
    """How many positions two rows share from the start."""
    low, high = 0, min(len(first), len(second))
    while low < high:  # whole stretches are compared at once
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def cache_of(layers: Sequence[tuple[Tensor, Tensor]]) -> DynamicCache:
    """A cache that begins with these keys and values (B, H, P, D), which it never writes to."""
    cache = DynamicCache()
    for keys, values in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


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
