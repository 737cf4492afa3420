"""Linear layers whose weights are kept in 8 bits, one scale a row; what they compute with is wide.

Shapes: N outputs, K inputs.
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NarrowKind = Literal["int8", "fp8"]
NARROW_KINDS: tuple[str, ...] = get_args(NarrowKind)
_DTYPES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
_LARGEST = {"int8": 127.0, "fp8": 448.0}
_FEW_ROWS, _BLOCK = 16, 32
"""Up to so many rows torch's own product of bfloat16 and int8 is the faster one on a CPU with
AVX-512. It works in blocks, and what is not a multiple of them it must not be given: it crashes."""


class NarrowLinear(nn.Module):
    """`nn.Linear` with `weight` (N, K) of int8 or float8 (e4m3) and `weight_scale` (N,), float32.

    A row's largest weight is the largest number of its kind. Compiled, weights become wide as they
    are read, and so they do for a few rows in bfloat16 on a CPU with AVX-512 (int8 alone).
    Otherwise a wide copy is made of each layer in turn, which saves memory but no time.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool, kind: NarrowKind) -> None:
        super().__init__()
        self.in_features, self.out_features, self.kind = in_features, out_features, kind
        narrow = torch.empty(out_features, in_features, dtype=_DTYPES[kind])
        self.weight = nn.Parameter(narrow, requires_grad=False)
        self.weight_scale = nn.Parameter(torch.empty(out_features), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None

    @property
    def is_narrow(self) -> bool:
        """Whether it holds 8 bits already; while a wide checkpoint is read it does not."""
        return "weight_scale" in self.state_dict(keep_vars=True)

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N)."""
        product = _mixed_product if self._has_few_rows(x) else _wide_product
        wide = product(x, self.weight) * self.weight_scale
        return (wide if self.bias is None else wide + self.bias).to(x.dtype)

    def _has_few_rows(self, x: Tensor) -> bool:
        """Whether the mixed product takes these sizes, and is the faster one."""
        return (
            self.kind == "int8"
            and not torch.compiler.is_compiling()
            and x.device.type == "cpu"
            and x.dtype == torch.bfloat16
            and 0 < x.numel() <= _FEW_ROWS * self.in_features
            and self.in_features % _BLOCK == 0
            and self.out_features % _BLOCK == 0
            and not (x.requires_grad and torch.is_grad_enabled())
            and torch.backends.cpu.get_cpu_capability() == "AVX512"
        )


def _wide_product(x: Tensor, weight_nk: Tensor) -> Tensor:
    return F.linear(x, weight_nk.to(x.dtype))


def _mixed_product(x: Tensor, weight_nk: Tensor) -> Tensor:
    untyped: Any = torch.ops.aten
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    ones = x.new_ones(len(weight_nk))  # its scales are in bfloat16, ours are finer
    return untyped._weight_int8pack_mm(rows, weight_nk, ones).view(*x.shape[:-1], -1)


def narrowed(weight_NK: Tensor, kind: NarrowKind) -> tuple[Tensor, Tensor]:
    """A weight -> itself in 8 bits, and its scales (N,) in float32."""
    wide = weight_NK.float()
    scale = (wide.abs().amax(1) / _LARGEST[kind]).clamp(min=torch.finfo(torch.float32).tiny)
    scaled = wide / scale[:, None]
    if kind == "int8":
        scaled = scaled.round()
    return scaled.to(_DTYPES[kind]), scale


def make_narrow(model: nn.Module, kind: NarrowKind) -> None:
    """Put 8-bit layers, still empty, where the language model and output layer have linear ones.

    An output layer that is tied to the word embeddings stays as wide as those.
    """
    untyped: Any = model
    tied = bool(untyped.config.tie_word_embeddings)
    for name, old in list(untyped.named_modules()):
        inside = name.startswith("model.language_model.") or (name == "lm_head" and not tied)
        if not (inside and isinstance(old, nn.Linear)):
            continue
        biased = getattr(old, "bias", None) is not None
        with torch.device(old.weight.device):
            new = NarrowLinear(old.in_features, old.out_features, biased, kind)
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, new)
