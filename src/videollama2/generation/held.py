"""What a batch holds of its rows between steps: slots, or, where those do not do, a cache as it is.

Legend: b rows, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from videollama2.generation.prefix import cache_of, can_crop
from videollama2.generation.slots import windows
from videollama2.generation.steps import SlotSteps


class Held(Protocol):
    """Keys and values (or states) of the rows, in their order."""

    @property
    def shares(self) -> bool:
        """Whether rows of different prompts can be there together."""
        ...

    def add(self, cache: DynamicCache, copies: int) -> None:
        """So many rows below the others, all with this prompt's cache."""
        ...

    def keep(self, order: Sequence[int]) -> None:
        """Row i is what row `order[i]` was; the others are gone."""
        ...

    def scores(self, tokens_b: Tensor, positions_b: Tensor, longest: int) -> Tensor:
        """One step: (B,) tokens at positions up to `longest` -> (B, V) scores of the next."""
        ...

    def copy_of(self, place: int, length: int) -> DynamicCache | None:
        """What a row has read, as a cache of its own; None where it cannot be had."""
        ...


class SlotRows:
    """Rows in slots of one cache that stays in place."""

    shares = True

    def __init__(self, model: Any, *, capture: bool | None, compile_backend: str | None) -> None:
        can = can_capture(model) if capture is None else capture
        self._steps = SlotSteps(model, capture=can, compile_backend=compile_backend)
        self._rows = 0

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether the language model's layers do with slots."""
        return windows(model.model.language_model) is not None

    def add(self, cache: DynamicCache, copies: int) -> None:
        """See `Held`."""
        self._steps.cache.add(self._rows, cache, copies)
        self._rows += copies

    def keep(self, order: Sequence[int]) -> None:
        """See `Held`."""
        for target, source in enumerate(order):
            if source != target:
                self._steps.cache.move(source, target)
        self._rows = len(order)

    def scores(self, tokens_b: Tensor, positions_b: Tensor, longest: int) -> Tensor:
        """See `Held`."""
        return self._steps.scores(tokens_b, positions_b, longest)

    def copy_of(self, place: int, length: int) -> DynamicCache:
        """See `Held`."""
        return self._steps.cache.copy_of(place, length)


class LooseRows:
    """Rows of one prompt in whatever cache their language model has; steps as transformers'."""

    shares = False

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = None
        self._rows = 0

    def add(self, cache: DynamicCache, copies: int) -> None:
        """See `Held`."""
        if copies > 1:
            cache.batch_repeat_interleave(copies)
        self._cache, self._rows = cache, copies

    def keep(self, order: Sequence[int]) -> None:
        """See `Held`."""
        if order:
            device = self._model.get_input_embeddings().weight.device
            self._cache.batch_select_indices(torch.tensor(order, device=device))

    def scores(self, tokens_b: Tensor, positions_b: Tensor, longest: int) -> Tensor:
        """See `Held`."""
        output = self._model(
            input_ids=tokens_b[:, None],
            position_ids=positions_b[:, None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]

    def copy_of(self, place: int, length: int) -> DynamicCache | None:
        """See `Held`."""
        if not can_crop(self._cache):
            return None
        pairs = [
            (layer.keys[place : place + 1, :, :length], layer.values[place : place + 1, :, :length])
            for layer in self._cache.layers
        ]
        return cache_of([(keys.clone(), values.clone()) for keys, values in pairs])


def can_capture(model: Any) -> bool:
    """Whether steps can be CUDA graphs: all on one GPU, and nothing within waits for the host."""
    device = model.get_input_embeddings().weight.device
    whole = getattr(model, "hf_device_map", None) is None
    static = bool(getattr(model.model.language_model, "_can_compile_fullgraph", False))
    return device.type == "cuda" and whole and static
