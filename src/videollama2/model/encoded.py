"""What an encoder of media gives: tokens, what they were made of, and what its layers showed."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

Features = Tensor | Sequence[Tensor]


def wanted_outputs(
    config: Any, hidden_states: bool | None, attentions: bool | None
) -> dict[str, bool]:
    """What an encoder is asked to show: what the caller says, else its config."""
    asked = {"output_hidden_states": hidden_states, "output_attentions": attentions}
    return {
        name: bool(getattr(config, name, False) if value is None else value)
        for name, value in asked.items()
    }


def stack_if_equal(items: list[Tensor]) -> Features:
    """One tensor where all items have one shape, else the list."""
    return torch.stack(items) if len({item.shape for item in items}) == 1 else items


def media_output(
    tokens: Features, states: Features, encoded: Sequence[Any]
) -> BaseModelOutputWithPooling:
    """`tokens` as `.pooler_output`, `states` as `.last_hidden_state`.

    `encoded` are the encoder's own outputs, of one run or of one for each item: their hidden
    states and attentions, if they have any, follow each other in each layer's tensor.
    """
    shown: dict[str, Any] = {}
    for name in ("hidden_states", "attentions"):
        layers: list[Any] = [getattr(output, name, None) for output in encoded]
        if all(layers):
            shown[name] = tuple(torch.cat(layer) for layer in zip(*layers, strict=True))
    return BaseModelOutputWithPooling(
        last_hidden_state=cast("Any", states), pooler_output=cast("Any", tokens), **shown
    )
