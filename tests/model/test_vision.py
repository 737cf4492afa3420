from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from videollama2.model.vision import build_vision_tower, num_read_layers, patch_features

SMALL = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 7,
}
TOWERS: dict[str, dict[str, Any]] = {
    "clip_vision_model": SMALL,
    "siglip_vision_model": SMALL,
    "siglip2_vision_model": {**SMALL, "num_patches": 16},
    "dinov2": SMALL,
    "dinov2_with_registers": SMALL,
}


@pytest.mark.parametrize("kind", TOWERS)
@pytest.mark.parametrize("layer", [-2, -1, 2])
@torch.no_grad()
def test_cut_tower_gives_the_whole_towers_hidden_state(kind: str, layer: int) -> None:
    config = AutoConfig.for_model(kind, **TOWERS[kind])
    whole = AutoModel.from_config(config).eval()
    cut = build_vision_tower(config, layer).eval()
    state = whole.state_dict()
    cut.load_state_dict({name: state[name] for name in cut.state_dict()})
    pixels = torch.randn(2, 3, 28, 28)
    if kind == "siglip2_vision_model":
        from videollama2.model.vision import _siglip2_inputs

        inputs = _siglip2_inputs(pixels, 7)
    else:
        inputs = {"pixel_values": pixels}
    expected = whole(**inputs, output_hidden_states=True).hidden_states[layer]
    torch.testing.assert_close(patch_features(cut, pixels, 7, "cls_patch"), expected)
    torch.testing.assert_close(patch_features(cut, pixels, 7, "patch"), expected[:, -16:])


@pytest.mark.parametrize("kind", TOWERS)
def test_no_layer_is_built_that_nobody_reads(kind: str) -> None:
    config = AutoConfig.for_model(kind, **TOWERS[kind])
    names = [name for name, _ in build_vision_tower(config, -2).named_parameters()]
    assert any(".2." in name for name in names)
    assert not any(".3." in name for name in names)
    assert not any("post_layernorm" in name or name.startswith("head") for name in names)


def test_siglip2_patches_against_its_own_image_processor() -> None:
    from PIL import Image
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    from videollama2.model.vision import _siglip2_inputs

    picture = torch.randint(0, 255, (28, 28, 3), dtype=torch.uint8).numpy()
    assert Image.fromarray(picture).size == (28, 28)
    expected = torch.from_numpy(convert_image_to_patches(picture.transpose(2, 0, 1), 7)).float()
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    torch.testing.assert_close(_siglip2_inputs(pixels, 7)["pixel_values"][0], expected)


def test_layer_out_of_range() -> None:
    config = AutoConfig.for_model("siglip_vision_model", **SMALL)
    assert num_read_layers(config, -5) == 0
    with pytest.raises(ValueError, match="4 layers"):
        num_read_layers(config, -6)
