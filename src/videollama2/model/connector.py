"""The connectors: frame features to language model tokens. Plain torch, usable on their own.

Shapes: B clips, T frames, N patches of a frame, H x W their grid, C vision width, D language
model width. Parameter names are the released ones, so released weights load as they are.
Source: paper section 2.2 and released `model/projector.py`; RegStage as in RegNet (Radosavovic
et al., 2020) with depth-wise 3x3 convolutions, squeeze-excitation and channel layer norms.
"""

from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videollama2.model.tensors import unflatten
from videollama2.model.tokens import ConnectorShape, connector_shape, mlp_depth

SQUEEZE_RATIO = 0.25
NORM_EPS = 1e-5


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W), each pixel by itself.

    In the width of what it is given, also under autocast, which would widen it to float32: the sums
    inside are float32 in any case, and these are the largest maps that training keeps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPS)  # pyright: ignore[reportUnknownMemberType]

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
        with torch.autocast(input.device.type, enabled=False):
            x_bhwc = F.layer_norm(
                input.permute(0, 2, 3, 1), self.normalized_shape, weight, bias, self.eps
            )
        return x_bhwc.permute(0, 3, 1, 2)


class ConvNorm(nn.Module):
    """Convolution without bias, channel layer norm, and SiLU if `act`."""

    def __init__(
        self, in_channels: int, channels: int, kernel: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False
        )
        self.bn = ChannelLayerNorm(channels)
        self.act = act

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        x_bchw = self.bn(self.conv(x_bchw))
        return F.silu(x_bchw) if self.act else x_bchw


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate read off the mean over the whole picture."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        gate = x_bchw.mean((2, 3), keepdim=True)
        return x_bchw * self.fc2(F.silu(self.fc1(gate))).sigmoid()


class Bottleneck(nn.Module):
    """1x1, depth-wise 3x3, squeeze-excitation, 1x1, around a shortcut."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, channels)
        self.conv2 = ConvNorm(channels, channels, kernel=3, groups=channels)
        self.se = SqueezeExcite(channels, round(in_channels * SQUEEZE_RATIO))
        self.conv3 = ConvNorm(channels, channels, act=False)
        self.downsample = (
            ConvNorm(in_channels, channels, act=False) if in_channels != channels else None
        )

    def forward(self, x_bchw: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        shortcut = x_bchw if self.downsample is None else self.downsample(x_bchw)
        return F.silu(self.conv3(self.se(self.conv2(self.conv1(x_bchw)))) + shortcut)


class RegStage(nn.Sequential):
    """`depth` bottlenecks, named b1, b2, ...; the first changes the width."""

    def __init__(self, depth: int, in_channels: int, channels: int) -> None:
        super().__init__()
        for index in range(depth):
            block = Bottleneck(in_channels if index == 0 else channels, channels)
            self.add_module(f"b{index + 1}", block)


def mlp(depth: int, in_features: int, features: int) -> nn.Sequential:
    """`depth` linear layers with GELU between them: keys 0, 2, 4, ..."""
    layers: list[nn.Module] = [nn.Linear(in_features, features)]
    for _ in range(1, depth):
        layers += [nn.GELU(), nn.Linear(features, features)]
    return nn.Sequential(*layers)


class SpatialTemporalConnector(nn.Module):
    """The STC family: RegStage per frame, a sampler over time and space, RegStage, readout.

    With depth 0 there is no RegStage, and the width changes in the sampler's convolution, or,
    where the sampler is a pooling, in the readout's first layer.
    """

    def __init__(self, shape: ConnectorShape, vision_hidden_size: int, hidden_size: int) -> None:
        super().__init__()
        self.shape = shape
        staged = shape.depth > 0
        width = hidden_size if staged else vision_hidden_size
        self.s1 = RegStage(shape.depth, vision_hidden_size, hidden_size) if staged else None
        if shape.sampler == "conv":
            self.sampler = nn.Sequential(
                nn.Conv3d(
                    width, hidden_size, shape.downsample, shape.downsample, padding=shape.padding
                ),
                nn.SiLU(),
            )
            width = hidden_size
        else:
            self.sampler = nn.Sequential(nn.AvgPool3d(shape.downsample), nn.SiLU())
        self.s2 = RegStage(shape.depth, hidden_size, hidden_size) if staged else None
        self.readout = mlp(shape.readout_depth, width, hidden_size)

    def forward(self, x_BTNC: Tensor) -> Tensor:
        """(B, T, N, C), N a square grid, or (B, T, H, W, C) -> (B, T'·H'·W', D), time-major.

        Raises:
            ValueError: N is no square, or there are fewer frames than the sampler takes.
        """
        x_bthwc = _as_grid(x_BTNC)
        clips, frames, height, width, _ = x_bthwc.shape
        self.shape.output_grid(frames, height, width)
        x = x_bthwc.flatten(0, 1).permute(0, 3, 1, 2)
        if self.s1 is not None:
            x = self.s1(x)
        x = self.sampler(unflatten(x, 0, (clips, frames)).transpose(1, 2))
        time = x.shape[2]
        if self.s2 is not None:
            x = self.s2(x.transpose(1, 2).flatten(0, 1))
            x = unflatten(x, 0, (clips, time)).transpose(1, 2)
        return self.readout(x.flatten(2).transpose(1, 2))


class MeanMlpConnector(nn.Sequential):
    """`mlp{n}x_gelu`: the mean over time, then an MLP. (B, T, N, C) -> (B, N, D)."""

    def __init__(self, depth: int, vision_hidden_size: int, hidden_size: int) -> None:
        super().__init__(*mlp(depth, vision_hidden_size, hidden_size))

    def forward(self, input: Tensor) -> Tensor:
        """(B, T, N, C) -> (B, N, D)."""
        parent: Any = super()
        return parent.forward(_as_patches(input).mean(1))


class MeanLinearConnector(nn.Linear):
    """`linear`: the mean over time, then one linear layer. (B, T, N, C) -> (B, N, D)."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, T, N, C) -> (B, N, D)."""
        return super().forward(_as_patches(input).mean(1))


def build_connector(
    connector_type: str,
    vision_hidden_size: int,
    hidden_size: int,
    *,
    downsample: tuple[int, int, int] | None = None,
    depth: int | None = None,
    readout_depth: int | None = None,
) -> nn.Module:
    """A connector by its released name: a module (B, T, N, C) -> (B, tokens, D).

    Types: `stc_connector`, `stc_connector_v35`, `stp_connector`, `spatial_conv`, `spatial_pool`,
    `mlp{n}x_gelu`, `linear`. The keyword values default to the released ones of the type.

    Raises:
        ValueError: no such connector type.
    """
    if connector_type == "linear":
        return MeanLinearConnector(vision_hidden_size, hidden_size)
    depth_of_mlp = mlp_depth(connector_type)
    if depth_of_mlp is not None:
        return MeanMlpConnector(depth_of_mlp, vision_hidden_size, hidden_size)
    shape = connector_shape(connector_type, downsample, depth, readout_depth)
    return SpatialTemporalConnector(shape, vision_hidden_size, hidden_size)


def _as_grid(x: Tensor) -> Tensor:
    if x.dim() == 5:
        return x
    side = isqrt(x.shape[2])
    if side * side != x.shape[2]:
        raise ValueError(
            f"{x.shape[2]} patches are no square grid: give (B, T, H, W, C), and leave a class "
            "token out (vision_feature_select='patch')"
        )
    return unflatten(x, 2, (side, side))


def _as_patches(x: Tensor) -> Tensor:
    return x.flatten(2, 3) if x.dim() == 5 else x


def build_audio_projector(
    projector_type: str, audio_hidden_size: int, hidden_size: int
) -> nn.Module:
    """`mlp{n}x_gelu` or `linear`: (items, tokens, E) -> (items, tokens, D).

    Source: released `build_audio_projector`, saved as `mm_projector_a`.

    Raises:
        ValueError: any other name.
    """
    depth = mlp_depth(projector_type)
    if depth is None:
        raise ValueError(
            f"no audio projector is called {projector_type!r}: choose mlp{{n}}x_gelu or linear"
        )
    if projector_type == "linear":
        return nn.Linear(audio_hidden_size, hidden_size)
    return mlp(depth, audio_hidden_size, hidden_size)
