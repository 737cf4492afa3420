"""Weights drawn at random, as a model that nobody has trained has them."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from videollama2.checkpoints.load import slot_shapes
from videollama2.checkpoints.modules import tensors_held
from videollama2.checkpoints.names import canonical
from videollama2.model.model import VideoLlama2ForConditionalGeneration


def draw(
    model: VideoLlama2ForConditionalGeneration,
    prefixes: tuple[str, ...],
    dtype: torch.dtype,
    seed: int,
) -> dict[str, Tensor]:
    """Weights for the parts of a model without memory whose names begin so, by canonical name.

    Each part begins at the seed, so that it is the same whatever else is drawn. Tied weights are
    drawn once, with the part that holds them first.
    """
    drawn: dict[str, Tensor] = {}
    stored = slot_shapes(model)
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in stored):
            continue  # an output layer that is tied to the embeddings
        part: Any = model.get_submodule(prefix.rstrip("."))
        _give_memory(part, dtype)
        with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
            torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
            if isinstance(part, PreTrainedModel):
                part.init_weights()
            else:
                part.apply(model._init_weights)  # pyright: ignore[reportPrivateUsage]
        parameters: dict[str, Tensor] = dict(part.named_parameters())
        drawn |= {canonical(f"{prefix}{leaf}"): value.data for leaf, value in parameters.items()}
    return drawn


def _give_memory(part: nn.Module, dtype: torch.dtype) -> None:
    """Real parameters in place of those without memory; shared ones stay shared."""
    given: dict[int, nn.Parameter] = {}
    for held in list(tensors_held(part)):
        if held.is_buffer or not held.value.is_meta:
            continue
        if id(held.value) not in given:
            given[id(held.value)] = nn.Parameter(torch.zeros(held.value.shape, dtype=dtype))
        setattr(held.module, held.leaf, given[id(held.value)])
