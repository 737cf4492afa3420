"""Weights in fewer bits: each as it is read, so that the wide model is never in memory whole."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, cast, get_args

import torch
from torch import Tensor, nn

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.four_bit import FourBit
from videollama2.model.narrow import NarrowKind, NarrowLinear, make_narrow, narrowed

Quantization = Literal["int8", "fp8", "int4", "nf4"]
QUANTIZATIONS: tuple[str, ...] = get_args(Quantization)
_GROUP = 128  # weights that share a scale in int4


class Narrowing(Protocol):
    """How weights become narrower while they are read."""

    def prepare(self, model: nn.Module, dtype: torch.dtype) -> None:
        """Put empty narrow layers in the place of linear ones."""
        ...

    def holds(self, parameter: Tensor) -> bool:
        """Whether a parameter, as prepared, is to become narrow."""
        ...

    def quantized(self, value: Tensor, layer: nn.Module) -> nn.Parameter:
        """A weight as the layer keeps it."""
        ...


class _Waiting(nn.Parameter):
    """Where a narrow weight will be, once the wide one is read."""


@dataclass(frozen=True)
class EightBit:
    """Weights of language model and output layer in int8 or float8, one scale a row."""

    kind: NarrowKind

    def prepare(self, model: nn.Module, dtype: torch.dtype) -> None:
        """See `Narrowing`; the model's config says from now on what its weights are."""
        make_narrow(model, self.kind)
        untyped: Any = model
        untyped.config.weight_only = self.kind
        for module in model.modules():
            if isinstance(module, NarrowLinear):
                wide = torch.empty(module.weight.shape, dtype=dtype, device="meta")
                module.weight = _Waiting(wide, requires_grad=False)
                module.register_parameter("weight_scale", None)  # it is in no wide checkpoint

    def holds(self, parameter: Tensor) -> bool:
        """See `Narrowing`."""
        return isinstance(parameter, _Waiting)

    def quantized(self, value: Tensor, layer: nn.Module) -> nn.Parameter:
        """See `Narrowing`; the scales go into the layer."""
        narrow, scale = narrowed(value, self.kind)
        cast("NarrowLinear", layer).weight_scale = nn.Parameter(scale, requires_grad=False)
        return nn.Parameter(narrow, requires_grad=False)


def narrowing(kind: str | None, device: torch.device) -> Narrowing | None:
    """What `load_model` does for `quantize=kind` while it reads; None: nothing.

    Raises:
        CheckpointError: no such kind, or it does not run on this device.
    """
    if kind is None:
        return None
    if kind not in QUANTIZATIONS:
        raise CheckpointError(
            "quantize", f"{kind!r} is none of {', '.join(QUANTIZATIONS)}", "Choose one of them"
        )
    if kind == "nf4":
        return FourBit()
    if kind != "int4":
        return EightBit(cast("NarrowKind", kind))
    if device.type != "cuda":
        raise CheckpointError(
            "quantize",
            f"int4 needs a GPU's tensor cores, and the device is {device.type}",
            "Use int8 or nf4 here",
        )
    _torchao()
    return None


def pack_int4(model: nn.Module) -> None:
    """Language model and output layer in int4, groups of 128, in the GPU kernels' own order.

    Raises:
        CheckpointError: torchao is not installed.
    """
    api = _torchao()
    config = api.Int4WeightOnlyConfig(
        group_size=_GROUP, int4_packing_format="tile_packed_to_4d", version=2
    )
    untyped: Any = model
    api.quantize_(untyped.model.language_model, config)
    if not untyped.config.tie_word_embeddings:

        def is_head(_: nn.Module, name: str) -> bool:
            return name == "lm_head"

        api.quantize_(untyped, config, is_head)


def _torchao() -> Any:
    try:
        return import_module("torchao.quantization")
    except ImportError as error:
        raise CheckpointError(
            "int4 weights", "need torchao", "pip install 'videollama2[int4]'"
        ) from error
