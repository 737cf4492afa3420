"""The vision tower: any transformers vision encoder, cut off at the layer that is read."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel

from videollama2.model.tensors import unflatten

# What encoders put behind their last layer. Features are read before it, so it is not built.
_AFTER_LAST_LAYER = ("post_layernorm", "layernorm", "norm", "head", "pooler")


def num_read_layers(vision_config: Any, feature_layer: int) -> int:
    """How many layers run so that `hidden_states[feature_layer]` exists.

    Raises:
        ValueError: the encoder has no such layer.
    """
    total = int(vision_config.num_hidden_layers)
    index = feature_layer if feature_layer >= 0 else total + 1 + feature_layer
    if not 0 <= index <= total:
        raise ValueError(
            f"vision_feature_layer {feature_layer} of an encoder with {total} layers: "
            f"choose from {-total - 1} to {total}"
        )
    return index


def build_vision_tower(vision_config: Any, feature_layer: int) -> nn.Module:
    """The encoder without the layers, norms and heads behind `hidden_states[feature_layer]`.

    It keeps `vision_config` itself, not a copy: what is set there later reaches its layers.

    Raises:
        ValueError: it has no such layer, or gives no feature for each patch.
    """
    _check_plain(vision_config)
    auto: Any = AutoModel  # it is untyped
    with _cut(vision_config, num_read_layers(vision_config, feature_layer)):
        tower: nn.Module = auto.from_config(vision_config)
    trunk = getattr(tower, "vision_model", tower)
    for name in _AFTER_LAST_LAYER:
        if isinstance(getattr(trunk, name, None), nn.Module):
            setattr(trunk, name, _Unread())
    return tower


def _check_plain(vision_config: Any) -> None:
    """Whether an encoder keeps one feature for each patch, in every layer.

    Raises:
        ValueError: it does not.
    """
    merges = any(hasattr(vision_config, name) for name in ("depths", "depth", "hidden_sizes"))
    lacks = [n for n in ("patch_size", "num_hidden_layers") if not hasattr(vision_config, n)]
    if merges or lacks:
        why = (
            "merges patches from stage to stage" if merges else f"says no {' and no '.join(lacks)}"
        )
        raise ValueError(
            f"{vision_config.model_type} {why}: the vision encoder has to give one feature for "
            "each patch of a picture, as CLIP, SigLIP, DINOv2 and ViT do"
        )


@contextmanager
def _cut(config: Any, layers: int) -> Generator[None]:
    """For as long as an encoder is built, its config asks for no more than what is read."""
    changes: dict[str, Any] = {"num_hidden_layers": layers}
    if hasattr(config, "vision_use_head"):
        changes["vision_use_head"] = False
    before = {name: getattr(config, name) for name in changes}
    try:
        for name, value in changes.items():
            setattr(config, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


class _Unread(nn.Module):
    """Stands where a norm or head would run that nobody reads."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden


def run_tower(tower: nn.Module, pixels_BCHW: Tensor, patch_size: int, **wanted: bool) -> Any:
    """(frames, 3, H, W) -> the tower's own output; `wanted` as transformers' encoders take it."""
    config: Any = tower.config
    if config.model_type == "siglip2_vision_model":
        return tower(**_siglip2_inputs(pixels_BCHW, patch_size), **wanted)
    return tower(pixel_values=pixels_BCHW, **wanted)


def select_patches(hidden: Tensor, patches: int, select: str) -> Tensor:
    """(frames, tokens, C) -> (frames, patches, C).

    `select` "patch" drops what stands before the patches (class token, registers);
    "cls_patch" keeps it.
    """
    return hidden[:, hidden.shape[1] - patches :] if select == "patch" else hidden


def patch_features(
    tower: nn.Module,
    pixels_BCHW: Tensor,
    patch_size: int,
    select: str,
) -> Tensor:
    """(frames, 3, H, W) -> (frames, patches, C) at the layer the tower was cut to."""
    output = run_tower(tower, pixels_BCHW, patch_size)
    patches = (pixels_BCHW.shape[-2] // patch_size) * (pixels_BCHW.shape[-1] // patch_size)
    return select_patches(output.last_hidden_state, patches, select)


def _siglip2_inputs(pixels_bchw: Tensor, patch_size: int) -> dict[str, Tensor]:
    """SigLIP 2 takes patches, already cut: (B, N, P·P·3), channels last."""
    count, _, height, width = pixels_bchw.shape
    rows, columns = height // patch_size, width // patch_size
    cut = unflatten(pixels_bchw, 3, (columns, patch_size))
    cut = unflatten(cut, 2, (rows, patch_size))
    patches = cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
    device = pixels_bchw.device
    shape = torch.tensor([[rows, columns]], device=device)
    return {
        "pixel_values": patches,
        "pixel_attention_mask": torch.ones(count, rows * columns, device=device, dtype=torch.long),
        "spatial_shapes": shape.expand(count, 2),
    }
