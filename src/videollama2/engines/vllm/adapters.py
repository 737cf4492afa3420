"""LoRA adapters on a CPU, where vLLM 0.32 would put them on everybody's answers.

Tokens without an adapter have the index -1. vLLM's plain PyTorch kernels look it up as Python does
and take the last adapter of all; here such tokens get none.
"""

# pyright: reportAttributeAccessIssue=false
# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms import current_platform

_Wrapper: Any = PunicaWrapperCPU


class MaskedLora(_Wrapper):
    """vLLM's LoRA on a CPU, without a change of the tokens that asked for no adapter."""

    def add_lora_linear(
        self,
        y: Tensor,
        x: Tensor,
        lora_a_stacked: tuple[Tensor, ...],
        lora_b_stacked: tuple[Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **more: Any,
    ) -> None:
        """As vLLM's own, y (tokens, outputs) changed in place."""
        before = y.clone()
        super().add_lora_linear(y, x, lora_a_stacked, lora_b_stacked, scale, output_slices, **more)
        _take_back(y, before, self.token_lora_indices)

    def add_lora_embedding(
        self, y: Tensor, x: Tensor, lora_b_stacked: Tensor, add_inputs: bool = True, **more: Any
    ) -> None:
        """As vLLM's own, y (tokens, width) changed in place."""
        before = y.clone()
        super().add_lora_embedding(y, x, lora_b_stacked, add_inputs, **more)
        _take_back(y, before, self.token_lora_indices)

    def add_lora_logits(
        self,
        y: Tensor,
        x: Tensor,
        lora_a_stacked: Tensor,
        lora_b_stacked: Tensor,
        scale: float,
        **more: Any,
    ) -> None:
        """As vLLM's own, y (answers, vocabulary) changed in place."""
        before = y.clone()
        super().add_lora_logits(y, x, lora_a_stacked, lora_b_stacked, scale, **more)
        _take_back(y, before, self.sampler_indices)


def _take_back(y: Tensor, before: Tensor, indices: Tensor) -> None:
    rows, old = y.view(-1, y.shape[-1]), before.view(-1, before.shape[-1])
    without = torch.nonzero(indices < 0).flatten()
    rows[without] = old[without]


def mend_cpu_lora() -> None:
    """Have vLLM take `MaskedLora` in this process, if it runs on a CPU."""
    if current_platform.is_cpu():
        name = f"{MaskedLora.__module__}.{MaskedLora.__name__}"
        current_platform.get_punica_wrapper = lambda: name
