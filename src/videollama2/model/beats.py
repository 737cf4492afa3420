"""BEATs, the audio encoder: a filter bank in, one token per time-frequency patch out.

Shapes: B sounds, F filter bank frames, M mel bins, L tokens (time-major, frequency-minor),
E width, A heads. Plain torch, usable on its own.
Source: BEATs (Chen et al., 2022) as in released `model/beats/`, parameter names too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from videollama2.model.beats_layer import BeatsAttention, BeatsLayer

WEIGHT_NORM_EPS = 1e-6


class _ScaleGradient(torch.autograd.Function):
    """Identity forward; the gradient is scaled on its way back (layer-wise gradient decay)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0] * ctx.scale, None


_scale_gradient = cast("Callable[[Tensor, float], Tensor]", _ScaleGradient.apply)  # pyright: ignore[reportUnknownMemberType]
_checkpoint = cast("Callable[..., tuple[Tensor, Tensor | None]]", checkpoint)


@dataclass(frozen=True)
class BeatsTrace:
    """What the encoder computed on its way.

    `tokens` (B, L, E); `hidden_states` what went into the first layer and came out of each, and
    `attentions` each layer's weights (B, A, L, L), where they were asked for.
    """

    tokens: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class WeightNormConv(nn.Module):
    """Convolution over time whose weight is g · v / ‖v‖, the norm per kernel position.

    The norm is taken in float32 with the released epsilon, rsqrt(Σv² + 1e-6)
    (`model/beats/weight_norm_fix.py`), which torch's own weight norm has not.
    """

    def __init__(self, channels: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.kernel = kernel
        self.weight_g = nn.Parameter(torch.ones(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.empty(channels, channels // groups, kernel))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw v as the released code does; g is then the norm of v, so that g·v/‖v‖ = v."""
        channels = self.weight_v.shape[0]
        nn.init.normal_(self.weight_v, std=(4 / (self.kernel * channels)) ** 0.5)
        with torch.no_grad():
            v: Any = self.weight_v
            self.weight_g.copy_(v.norm(dim=(0, 1), keepdim=True))

    def forward(self, x_bel: Tensor) -> Tensor:
        """(B, E, L) -> (B, E, L)."""
        v = self.weight_v.float()
        scale = self.weight_g.float() * torch.rsqrt(
            v.square().sum((0, 1), keepdim=True) + WEIGHT_NORM_EPS
        )
        weight = (v * scale).to(x_bel.dtype)
        x_bel = F.conv1d(x_bel, weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        return x_bel[..., :-1] if self.kernel % 2 == 0 else x_bel


class BeatsEncoder(nn.Module):
    """Convolutional positions, then the layers; one position bias serves them all."""

    def __init__(
        self,
        hidden_size: int,
        num_hidden_layers: int,
        num_attention_heads: int,
        intermediate_size: int,
        conv_pos: int,
        conv_pos_groups: int,
        num_buckets: int,
        max_distance: int,
        layer_norm_eps: float,
        deep_norm: bool,
        layer_drop: float,
        gradient_decay: float,
    ) -> None:
        super().__init__()
        alpha = (2 * num_hidden_layers) ** 0.25 if deep_norm else 1.0
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.layer_drop = layer_drop
        self.gradient_decay = gradient_decay
        self.gradient_checkpointing = False
        self.pos_conv = nn.Sequential(
            WeightNormConv(hidden_size, conv_pos, conv_pos_groups), nn.GELU()
        )
        self.layer_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.layers = nn.ModuleList(
            BeatsLayer(hidden_size, num_attention_heads, intermediate_size, alpha, layer_norm_eps)
            for _ in range(num_hidden_layers)
        )
        # The released code hangs the one table that all layers share on the first layer.
        self._first_attention().register_module(
            "relative_attention_bias", nn.Embedding(num_buckets, num_attention_heads)
        )

    def _first_attention(self) -> BeatsAttention:
        return cast("BeatsLayer", self.layers[0]).self_attn

    def position_bias(self, length: int) -> Tensor:
        """(A, L, L): the learned bias of each distance bucket (as in T5, both directions)."""
        table = self._first_attention().get_submodule("relative_attention_bias")
        device = next(table.parameters()).device
        distance = torch.arange(1 - length, length, device=device)  # every one there is, once
        by_distance: Tensor = table(self._bucket(distance)).T
        return by_distance.unfold(-1, length, 1).flip(1)

    def _bucket(self, distance: Tensor) -> Tensor:
        half = self.num_buckets // 2
        exact = half // 2
        side = (distance > 0).long() * half
        distance = distance.abs()
        ratio = torch.log(distance.clamp(min=1).float() / exact) / log(self.max_distance / exact)
        far = (exact + (ratio * (half - exact)).long()).clamp(max=half - 1)
        return side + torch.where(distance < exact, distance, far)

    def forward(
        self,
        x_ble: Tensor,
        hidden_bl: Tensor | None,
        fused: bool = True,
        hidden_states: bool = False,
        attentions: bool = False,
    ) -> BeatsTrace:
        """(B, L, E) -> what `Beats.trace` gives; `hidden_bl` (B, L) is true where padding is."""
        if hidden_bl is not None:
            x_ble = x_ble.masked_fill(hidden_bl[..., None], 0.0)
        x_ble = x_ble + self.pos_conv(x_ble.transpose(1, 2)).transpose(1, 2)
        x_ble = self.layer_norm(x_ble)
        bias = self.position_bias(x_ble.shape[1]).to(x_ble.dtype)
        states: list[Tensor] = [x_ble] if hidden_states else []
        maps: list[Tensor] = []
        for layer in self.layers:
            if self.training and self.layer_drop > 0 and torch.rand(()).item() < self.layer_drop:
                continue
            if self.training and self.gradient_decay != 1.0 and x_ble.requires_grad:
                x_ble = _scale_gradient(x_ble, self.gradient_decay)
            if self.gradient_checkpointing and self.training:
                x_ble, weights = _checkpoint(
                    layer, x_ble, bias, hidden_bl, fused, use_reentrant=False
                )
            else:
                x_ble, weights = layer(x_ble, bias, hidden_bl, fused)
            if hidden_states:
                states.append(x_ble)
            if attentions and weights is not None:
                maps.append(weights)
        return BeatsTrace(
            x_ble,
            tuple(states) if hidden_states else None,
            tuple(maps) if attentions else None,
        )


class Beats(nn.Module):
    """The whole encoder, from filter bank to tokens, with the sound tagger's head.

    Built from plain numbers; the defaults are the released fine-tuned iter3+ model
    (90,717,055 parameters).
    """

    def __init__(
        self,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        *,
        input_patch_size: int = 16,
        patch_embedding_size: int = 512,
        conv_pos: int = 128,
        conv_pos_groups: int = 16,
        num_buckets: int = 320,
        max_distance: int = 800,
        layer_norm_eps: float = 1e-5,
        deep_norm: bool = True,
        num_sound_classes: int = 527,
        layer_drop: float = 0.05,
        layerwise_gradient_decay: float = 0.6,
        fbank_mean: float = 15.41663,
        fbank_std: float = 6.55582,
        **parent: Any,
    ) -> None:
        super().__init__(**parent)  # for the class beside this one in a subclass
        self.fbank_mean = fbank_mean
        self.fbank_std = fbank_std
        self.patch_size = input_patch_size
        self.patch_embedding = nn.Conv2d(
            1, patch_embedding_size, input_patch_size, input_patch_size, bias=False
        )
        self.layer_norm = nn.LayerNorm(patch_embedding_size)
        self.post_extract_proj = (
            nn.Linear(patch_embedding_size, hidden_size)
            if patch_embedding_size != hidden_size
            else None
        )
        self.encoder = BeatsEncoder(
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            intermediate_size,
            conv_pos,
            conv_pos_groups,
            num_buckets,
            max_distance,
            layer_norm_eps,
            deep_norm,
            layer_drop,
            layerwise_gradient_decay,
        )
        self.predictor = nn.Linear(hidden_size, num_sound_classes) if num_sound_classes else None

    def num_tokens(self, frames: int, mel_bins: int) -> int:
        """Tokens of a filter bank of that size: whole patches in time times in frequency."""
        return (frames // self.patch_size) * (mel_bins // self.patch_size)

    def forward(self, fbank_BFM: Tensor, mask_BF: Tensor | None = None) -> Tensor:
        """(B, F, M) log-mel filter bank -> (B, L, E).

        `mask_BF` (B, F) is true at frames that are sound. Padded frames are then hidden, and an
        item's first `num_tokens(its frames)` tokens are what it would give alone.

        Raises:
            ValueError: the sound is shorter than one patch.
        """
        return self.trace(fbank_BFM, mask_BF).tokens

    def trace(
        self,
        fbank_BFM: Tensor,
        mask_BF: Tensor | None = None,
        *,
        fused: bool = True,
        hidden_states: bool = False,
        attentions: bool = False,
    ) -> BeatsTrace:
        """As `forward`, with what the layers gave on the way where it is asked for.

        `fused` attention has no weights to show: with `attentions` they are computed one by one.
        """
        if fbank_BFM.shape[1] < self.patch_size:
            raise ValueError(
                f"a sound of {fbank_BFM.shape[1]} filter bank frames is shorter than one patch "
                f"of {self.patch_size}: give at least {self.patch_size / 100:.2f} s of sound"
            )
        x = (fbank_BFM - self.fbank_mean) / (2 * self.fbank_std)
        x = self.patch_embedding(x.unsqueeze(1).to(self.patch_embedding.weight.dtype))
        bands = x.shape[3]
        x = self.layer_norm(x.flatten(2).transpose(1, 2))
        if self.post_extract_proj is not None:
            x = self.post_extract_proj(x)
        padded = self._hidden_tokens(mask_BF, x.shape[1], bands)
        return self.encoder(x, padded, fused and not attentions, hidden_states, attentions)

    def _hidden_tokens(self, mask_bf: Tensor | None, tokens: int, bands: int) -> Tensor | None:
        """(B, L), true at tokens past an item's last whole patch; None where nothing is padded."""
        if mask_bf is None or bool(mask_bf.all()):
            return None
        patches = mask_bf.sum(1) // self.patch_size
        time = torch.arange(tokens, device=mask_bf.device) // bands
        return time[None, :] >= patches[:, None]

    def tag(self, fbank_BFM: Tensor, mask_BF: Tensor | None = None) -> Tensor:
        """(B, F, M) -> (B, labels): the probability of each sound class (AudioSet's 527).

        Raises:
            ValueError: the encoder was built without the tagger's head.
        """
        if self.predictor is None:
            raise ValueError("this audio encoder has no tag head (num_sound_classes is 0)")
        features = self(fbank_BFM, mask_BF)
        bands = fbank_BFM.shape[2] // self.patch_size
        hidden = self._hidden_tokens(mask_BF, features.shape[1], bands)
        logits = self.predictor(features)
        if hidden is None:
            return logits.mean(1).sigmoid()
        heard = (~hidden).to(logits.dtype)[..., None]
        return ((logits * heard).sum(1) / heard.sum(1).clamp(min=1)).sigmoid()
