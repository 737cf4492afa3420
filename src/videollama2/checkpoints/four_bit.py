"""The language model's linear layers in 4 bits, each quantised as soon as it is read.

Blocks of 64 weights share a scale; with `double`, 256 scales share one again (QLoRA: Dettmers et
al., 2023, section 3). The arithmetic is bitsandbytes', on GPUs and on the CPU alike. Its kernels
for CPUs with AVX-512 begin a block at each row, so that rows have to hold whole blocks: of 32 where
64 does not divide their length. Layers that neither divides stay as they are, and `share` tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from videollama2.checkpoints.errors import CheckpointError

PREFIX = "model.language_model."  # neither the output layer nor the encoders


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
            if block_of(old) is None:
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
            blocksize=block_of(layer),
            compress_statistics=self.double,
            quant_type=self.kind,
            module=layer,
        )
        return parameter.to(value.device)


def block_of(layer: nn.Module) -> int | None:
    """How many of a linear layer's weights share a scale; None: its rows hold no whole blocks."""
    width: int = cast("nn.Linear", layer).in_features
    return next((size for size in (64, 32) if width % size == 0), None)


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


def spared_bytes(model: nn.Module, wide: int) -> int:
    """What 4 bits spare of the language model's linear layers, whose weights have `wide` bytes.

    A weight takes half a byte, its block's scale 8 bits, the scales' scale 32.
    """
    untyped: Any = model
    spared = 0.0
    for name, module in untyped.named_modules():
        if isinstance(module, nn.Linear) and name.startswith(PREFIX):
            block = block_of(module)
            if block is not None:
                spared += module.weight.numel() * (wide - 1 / 2 - (1 + 4 / 256) / block)
    return round(spared)


def _layers() -> Any:
    try:
        from bitsandbytes import nn as layers  # pyright: ignore
    except ImportError as error:
        raise CheckpointError(
            "4-bit weights", "need bitsandbytes", "pip install 'videollama2[quant]'"
        ) from error
    return layers
