"""Keys and values of rows that are decoded together: each row in a slot, its own length of it.

Legend: b rows, h heads, p positions, d width of a head.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import CacheLayerMixin

from videollama2.generation.prefix import cache_of, can_crop

_ROOM = 256  # positions more than are needed, so that they are seldom moved
_LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})


class _SlotLayer(CacheLayerMixin):
    """One layer's keys and values (slots, H, capacity, D); a step writes at each row's place."""

    is_sliding = False
    is_croppable = False

    def __init__(self, like: Tensor, values_like: Tensor, slots: int, capacity: int) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.keys: Any = _room(like, slots, capacity)
        self.values: Any = _room(values_like, slots, capacity)
        self.is_initialized = True
        self.places = like.new_zeros(0, dtype=torch.long)
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """It has its room from the start."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write (B, H, 1, D) of the first B slots; give all of theirs, up to the length set."""
        rows = key_states.shape[0]
        slots = torch.arange(rows, device=key_states.device)
        places = self.places.to(key_states.device)
        self.keys[slots, :, places] = key_states[:, :, 0]
        self.values[slots, :, places] = value_states[:, :, 0]
        return self.keys[:rows, :, : self.length], self.values[:rows, :, : self.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return int(self.keys.shape[2])

    get_max_cache_shape = get_max_length  # its name in older transformers


class SlotCache(Cache):
    """A cache with a fixed place for each row.

    Slots and positions are zero where nothing was written (a mask hides them, and zero times
    whatever is there must be zero). Both grow by moving everything, which changes `moved`.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.capacity = 0
        self.slots = 0
        self.moved = 0

    def add(self, rows: int, cache: DynamicCache, copies: int) -> None:
        """Put a prompt's keys and values into the `copies` slots after the first `rows`."""
        length = int(cache.get_seq_length())
        if not self.layers:
            layers: Any = cache.layers
            self.slots, self.capacity = copies, _rounded(length + 1)
            self.layers = [
                _SlotLayer(one.keys, one.values, self.slots, self.capacity) for one in layers
            ]
        self.reserve(rows + copies, length + 1)
        for ours, theirs in _pairs(self, cache):
            ours.keys[rows : rows + copies, :, :length] = theirs.keys
            ours.values[rows : rows + copies, :, :length] = theirs.values

    def reserve(self, slots: int, capacity: int) -> None:
        """Make room for so many slots of so many positions."""
        if slots <= self.slots and capacity <= self.capacity:
            return
        if slots > self.slots:
            self.slots = max(slots, 2 * self.slots)
        if capacity > self.capacity:
            self.capacity = _rounded(capacity)
        self.moved += 1
        for layer in self._own_layers():
            layer.keys = _moved(layer.keys, self.slots, self.capacity)
            layer.values = _moved(layer.values, self.slots, self.capacity)

    def move(self, source: int, target: int) -> None:
        """Copy one slot over another."""
        for layer in self._own_layers():
            layer.keys[target] = layer.keys[source]
            layer.values[target] = layer.values[source]

    def open(self, places_b: Tensor, length: int) -> None:
        """The next step writes at `places_b` and sees the first `length` positions."""
        for layer in self._own_layers():
            layer.places, layer.length = places_b, length

    def copy_of(self, slot: int, length: int) -> DynamicCache:
        """The first positions of a slot, as a cache of its own."""
        pairs = [
            (layer.keys[slot : slot + 1, :, :length], layer.values[slot : slot + 1, :, :length])
            for layer in self._own_layers()
        ]
        return cache_of([(keys.clone(), values.clone()) for keys, values in pairs])

    def _own_layers(self) -> list[_SlotLayer]:
        layers: Any = self.layers
        return layers


def windows(language_model: Any) -> dict[str, int | None] | None:
    """The attention window of each kind of layer (None: all positions); None where slots do not do.

    They do where attention is all that a layer remembers, and where it takes a mask as given.
    """
    config = language_model.config
    if not getattr(language_model, "_supports_attention_backend", False):
        return None
    by_config: Any = DynamicCache(config=config)
    kinds = set(getattr(config, "layer_types", None) or ())
    if not can_crop(by_config) or not kinds <= _LAYER_TYPES:
        return None
    window: int | None = getattr(config, "sliding_window", None)
    sliding = [bool(layer.is_sliding) for layer in by_config.layers]
    if not any(sliding):
        return {"full_attention": None}
    if all(sliding):
        return {"sliding_attention": window}
    return {"full_attention": None, "sliding_attention": window}


def mask_of(positions_b: Tensor, length: int, window: int | None) -> Tensor:
    """(B, 1, 1, length), true where a row at its position looks."""
    columns_p = torch.arange(length, device=positions_b.device)
    seen_bp = columns_p <= positions_b[:, None]
    if window is not None:
        seen_bp &= columns_p > positions_b[:, None] - window
    return seen_bp[:, None, None]


def _rounded(positions: int) -> int:
    return -(-positions // _ROOM) * _ROOM


def _room(like: Tensor, slots: int, capacity: int) -> Tensor:
    return like.new_zeros(slots, like.shape[1], capacity, like.shape[3])


def _moved(old_bhpd: Tensor, slots: int, capacity: int) -> Tensor:
    new = _room(old_bhpd, slots, capacity)
    new[: old_bhpd.shape[0], :, : old_bhpd.shape[2]] = old_bhpd
    return new


def _pairs(ours: SlotCache, theirs: DynamicCache) -> Any:
    return zip(ours.layers, theirs.layers, strict=True)
