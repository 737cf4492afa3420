"""Typed views of what torch leaves untyped: a module's own tensors, a tensor's own bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Held:
    """A parameter or buffer: its full name, the module that holds it, its name there."""

    name: str
    module: nn.Module
    leaf: str
    value: torch.Tensor
    is_buffer: bool


def tensors_held(model: nn.Module) -> Iterator[Held]:
    """Every parameter and buffer of a model; shared ones once for each place."""
    untyped: Any = model
    for prefix, module in untyped.named_modules():
        for is_buffer, own in ((False, module._parameters), (True, module._buffers)):
            for leaf, value in own.items():
                if value is not None:
                    name = f"{prefix}.{leaf}" if prefix else leaf
                    yield Held(name, module, leaf, value, is_buffer)


def stored_names(model: nn.Module) -> set[str]:
    """Names of all that is saved: parameters, and the buffers that are no mere caches."""
    state: dict[str, Any] = model.state_dict(keep_vars=True)
    return set(state)


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor, to read and to write."""
    array: Any = tensor.view(-1).view(torch.uint8).numpy()
    return memoryview(array)
