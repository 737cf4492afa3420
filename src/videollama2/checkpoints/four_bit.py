"""The language model's linear layers in 4 bits, each quantised as soon as it is read.

Blocks of 64 weights share a scale; with `double`, 256 scales share one again (QLoRA: Dettmers et
al., 2023, section 3). The arithmetic is bitsandbytes', on GPUs and on the CPU alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from videollama2.checkpoints.errors import CheckpointError

PREFIX = "model.language_model."  # neither the output layer nor the encoders
# Bytes a weight: itself, its block's scale in 8 bits, and the scales' scale in float32.
WIDTH = 1 / 2 + 1 / 64 + 4 / (64 * 256)


@dataclass(frozen=True)
class FourBit:
    """How weights are kept: 16 levels of a normal distribution, or a float's; scales twice."""

    kind: Literal["nf4", "fp4"] = "nf4"
    double: bool = True

    def prepare(self, model: nn.Module, dtype: torch.dtype) -> None:
        """Put 4-bit layers, still empty, in the place of the language model's linear layers.

        Raises:
            CheckpointError: bitsandbytes is not installed.
        """
        layers: Any = _layers()
        untyped: Any = model
        for name, old in list(untyped.named_modules()):
            if not (isinstance(old, nn.Linear) and name.startswith(PREFIX)):
                continue
            new = layers.Linear4bit(
                old.in_features,
                old.out_features,
                bias=getattr(old, "bias", None) is not None,
                compute_dtype=dtype,
                compress_statistics=self.double,
                quant_type=self.kind,
                device="meta",
            )
            new.support_avx512bf16_for_cpu = False  # a form for answering alone, without gradients
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, new)
        untyped.is_loaded_in_4bit = True  # as peft and transformers ask it

    def holds(self, parameter: Tensor) -> bool:
        """Whether a parameter is a 4-bit layer's weight."""
        return isinstance(parameter, _layers().Params4bit)

    def quantized(self, value: Tensor, layer: nn.Module) -> nn.Parameter:
        """A weight as the layer keeps it, on the device where it is."""
        parameter: Any = _layers().Params4bit(
            value,
            requires_grad=False,
            compress_statistics=self.double,
            quant_type=self.kind,
            module=layer,
        )
        return parameter.to(value.device)


def check_installed() -> None:
    """Whether bitsandbytes is there.

    Raises:
        CheckpointError: it is not.
    """
    _layers()


def share(model: nn.Module) -> float:
    """Which share of the language model's parameters is in 4 bits."""
    kind = _layers().Params4bit
    narrow = wide = 0
    for name, parameter in model.named_parameters():
        if name.startswith(PREFIX) and isinstance(parameter, kind):
            narrow += 2 * parameter.numel()  # two to a byte
        elif name.startswith(PREFIX):
            wide += parameter.numel()
    return narrow / (narrow + wide)


def quantizable(model: nn.Module) -> int:
    """Weights that 4 bits would hold: those of the language model's linear layers."""
    untyped: Any = model
    return sum(
        module.weight.numel()
        for name, module in untyped.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(PREFIX)
    )


def _layers() -> Any:
    try:
        from bitsandbytes import nn as layers  # pyright: ignore
    except ImportError as error:
        raise CheckpointError(
            "4-bit weights", "need bitsandbytes", "pip install 'videollama2[quant]'"
        ) from error
    return layers
