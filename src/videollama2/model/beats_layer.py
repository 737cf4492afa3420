"""One layer of BEATs: attention with a gated relative position bias, deep norm, feed-forward.

Shapes: B sounds, L tokens, E width, A heads.
Source: BEATs (Chen et al., 2022) as in released `model/beats/`, parameter names too.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GATE_WIDTH = 8


class BeatsAttention(nn.Module):
    """Self-attention with a relative position bias that a gate on each query scales.

    The released code divides the scores by 32, subtracts each row's maximum and multiplies by 32
    again; softmax does not see a row's constant, so plain fused attention computes the same.
    """

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_size = hidden_size // num_heads
        self.q_proj = nn.Linear(hidden_size, hidden_size)
        self.k_proj = nn.Linear(hidden_size, hidden_size)
        self.v_proj = nn.Linear(hidden_size, hidden_size)
        self.out_proj = nn.Linear(hidden_size, hidden_size)
        self.grep_linear = nn.Linear(self.head_size, GATE_WIDTH)
        self.grep_a = nn.Parameter(torch.ones(1, num_heads, 1, 1))

    def forward(
        self, x_ble: Tensor, bias_all: Tensor, hidden_bl: Tensor | None, fused: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """(B, L, E) -> (B, L, E) and, where not `fused`, the weights (B, A, L, L).

        `bias_all` (A, L, L) position bias; `hidden_bl` (B, L) true where padding is.
        """
        shape = (self.num_heads, self.head_size)
        q = self.q_proj(x_ble).unflatten(-1, shape).transpose(1, 2)
        k = self.k_proj(x_ble).unflatten(-1, shape).transpose(1, 2)
        v = self.v_proj(x_ble).unflatten(-1, shape).transpose(1, 2)
        gates = self.grep_linear(q).unflatten(-1, (2, GATE_WIDTH // 2)).sum(-1).sigmoid()
        gate_a, gate_b = gates.chunk(2, dim=-1)
        mask = (gate_a * (gate_b * self.grep_a - 1.0) + 2.0) * bias_all
        if hidden_bl is not None:
            mask = mask.masked_fill(hidden_bl[:, None, None, :], torch.finfo(mask.dtype).min)
        weights = None
        if fused:
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
        else:
            scores = q @ k.transpose(2, 3) * self.head_size**-0.5 + mask.to(q.dtype)
            weights = scores.softmax(-1)
            x = weights @ v
        return self.out_proj(x.transpose(1, 2).flatten(2)), weights


class BeatsLayer(nn.Module):
    """Attention and feed-forward, each after a residual scaled by deep norm's alpha."""

    def __init__(
        self, hidden_size: int, num_heads: int, intermediate_size: int, alpha: float, eps: float
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.self_attn = BeatsAttention(hidden_size, num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(hidden_size, eps=eps)
        self.fc1 = nn.Linear(hidden_size, intermediate_size)
        self.fc2 = nn.Linear(intermediate_size, hidden_size)
        self.final_layer_norm = nn.LayerNorm(hidden_size, eps=eps)

    def forward(
        self, x_ble: Tensor, bias_all: Tensor, hidden_bl: Tensor | None, fused: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """(B, L, E) -> (B, L, E) and the weights; arguments as for the attention."""
        attended, weights = self.self_attn(x_ble, bias_all, hidden_bl, fused)
        x_ble = self.self_attn_layer_norm(x_ble * self.alpha + attended)
        inner = F.gelu(self.fc1(x_ble).float()).type_as(x_ble)
        return self.final_layer_norm(x_ble * self.alpha + self.fc2(inner)), weights
