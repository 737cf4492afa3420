from __future__ import annotations

import pytest
import torch
from torch import nn

from videollama2.model.connector import RegStage, build_connector
from videollama2.model.tokens import connector_shape

TYPES = (
    "stc_connector",
    "stc_connector_v35",
    "stp_connector",
    "spatial_conv",
    "spatial_pool",
    "mlp1x_gelu",
    "mlp2x_gelu",
    "mlp3x_gelu",
    "linear",
)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("vision", "width"), [(12, 20), (16, 16)])
def test_every_type_gives_the_tokens_it_promises(kind: str, vision: int, width: int) -> None:
    connector = build_connector(kind, vision, width)
    frames = torch.randn(2, 5, 36, vision)
    tokens = connector(frames)
    time, rows, columns = connector_shape(kind).output_grid(5, 6, 6)
    assert tokens.shape == (2, time * rows * columns, width)
    tokens.sum().backward()


@pytest.mark.parametrize("kind", TYPES)
def test_item_does_not_depend_on_its_neighbours(kind: str) -> None:
    connector = build_connector(kind, 8, 12).eval()
    frames = torch.randn(3, 4, 16, 8)
    torch.testing.assert_close(connector(frames)[1:2], connector(frames[1:2]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "frames", "side", "tokens"),
    [
        ("stc_connector", 8, 24, 845),
        ("stc_connector", 16, 24, 1521),
        ("stc_connector", 32, 24, 2873),
        ("stc_connector_v35", 8, 24, 576),
        ("stc_connector_v35", 16, 27, 1352),
        ("stc_connector_v35", 32, 27, 2704),
        ("stp_connector", 16, 24, 1152),
        ("spatial_conv", 8, 24, 1690),
        ("spatial_pool", 16, 27, 2704),
        ("mlp2x_gelu", 16, 27, 729),
        ("stc_connector", 1, 24, 169),
    ],
)
def test_token_counts_of_released_sizes(kind: str, frames: int, side: int, tokens: int) -> None:
    time, rows, columns = connector_shape(kind).output_grid(frames, side, side)
    assert time * rows * columns == tokens


@pytest.mark.parametrize(
    ("vision", "width", "parameters"),
    [(1024, 4096, 489_188_608), (1152, 3584, 376_889_248), (1024, 8192, 1_934_678_272)],
)
def test_parameters_of_released_sizes(vision: int, width: int, parameters: int) -> None:
    with torch.device("meta"):
        connector = build_connector("stc_connector", vision, width)
    assert sum(p.numel() for p in connector.parameters()) == parameters


def test_one_frame_is_too_few_without_padding() -> None:
    with pytest.raises(ValueError, match=r"give at least 2 frames"):
        build_connector("stc_connector_v35", 8, 8)(torch.randn(1, 1, 16, 8))


def test_class_token_is_no_grid() -> None:
    with pytest.raises(ValueError, match="square grid"):
        build_connector("stc_connector", 8, 8)(torch.randn(1, 4, 17, 8))


@pytest.mark.parametrize("name", ["stc", "mlpx_gelu", "mlp0x_gelu", "identity", ""])
def test_unknown_type_says_what_there_is(name: str) -> None:
    with pytest.raises(ValueError, match="stc_connector_v35"):
        build_connector(name, 8, 8)


def test_downsample_and_depths_are_values() -> None:
    connector = build_connector(
        "stc_connector_v35", 8, 8, downsample=(4, 1, 1), depth=1, readout_depth=3
    )
    assert connector(torch.randn(1, 8, 16, 8)).shape == (1, 2 * 16, 8)
    linears = [m for m in connector.readout if isinstance(m, nn.Linear)]
    assert len(linears) == 3
    assert [name for name, _ in connector.s1.named_children()] == ["b1"]


def test_spatial_conv_widens_in_its_convolution() -> None:
    connector = build_connector("spatial_conv", 8, 20)
    assert connector.sampler[0].weight.shape == (20, 8, 1, 2, 2)


def test_spatial_pool_widens_in_its_readout() -> None:
    connector = build_connector("spatial_pool", 8, 20)
    assert connector.readout[0].weight.shape == (20, 8)


def test_stage_against_transformers_regnet_pieces() -> None:
    """One bottleneck, rebuilt from torch's functional calls in another order of work."""
    stage = RegStage(1, 6, 10).double()
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    block = stage.b1
    functional = nn.functional

    def norm(y: torch.Tensor, bn: nn.LayerNorm) -> torch.Tensor:
        mean = y.mean(1, keepdim=True)
        deviation = ((y - mean) ** 2).mean(1, keepdim=True)
        scaled = (y - mean) / (deviation + 1e-5) ** 0.5
        return scaled * bn.weight[:, None, None] + bn.bias[:, None, None]

    y = functional.silu(norm(functional.conv2d(x, block.conv1.conv.weight), block.conv1.bn))
    unfolded = functional.unfold(y, 3, padding=1).unflatten(1, (10, 9))
    y = (unfolded * block.conv2.conv.weight.flatten(1)[:, :, None]).sum(2).unflatten(2, (5, 5))
    y = functional.silu(norm(y, block.conv2.bn))
    squeezed = functional.silu(block.se.fc1(y.mean((2, 3), keepdim=True)))
    assert squeezed.shape[1] == round(6 * 0.25)
    y = y * torch.sigmoid(block.se.fc2(squeezed))
    y = norm(functional.conv2d(y, block.conv3.conv.weight), block.conv3.bn)
    shortcut = norm(functional.conv2d(x, block.downsample.conv.weight), block.downsample.bn)
    torch.testing.assert_close(stage(x), functional.silu(y + shortcut))


def test_norms_keep_their_width_under_autocast() -> None:
    """Autocast would widen the largest maps there are; the sums inside are float32 anyway."""
    from videollama2.model.connector import ChannelLayerNorm

    norm, x = ChannelLayerNorm(8), torch.randn(2, 8, 3, 3, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = norm(x)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), norm(x.float()), atol=0.02, rtol=0.01)
