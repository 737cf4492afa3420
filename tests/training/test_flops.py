"""Counted work against torch's own counter, which sees the products that are really done."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from videollama2.model.config import VideoLlama2Config
from videollama2.model.model import VideoLlama2ForConditionalGeneration, learned_positions
from videollama2.model.tokens import num_audio_tokens, num_image_tokens, num_video_tokens
from videollama2.training.adapters import add_adapters
from videollama2.training.flops import StepFlops, peak_of, sizes_of
from videollama2.training.parts import choose, rest_frozen_encoders
from videollama2.training.recipe_file import load_recipe

SIGLIP = {
    "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 80,
    "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56, "patch_size": 7,
}  # fmt: skip
CLIP = {**SIGLIP, "model_type": "clip_vision_model", "projection_dim": 8}
DINO = {**SIGLIP, "model_type": "dinov2_with_registers", "num_register_tokens": 4, "mlp_ratio": 2}
QWEN: dict[str, Any] = {
    "model_type": "qwen2", "hidden_size": 48, "intermediate_size": 112, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300,
}  # fmt: skip
MIXTRAL = {**QWEN, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 200}
BEATS = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 64,
    "patch_embedding_size": 16, "conv_pos": 8, "conv_pos_groups": 4, "num_sound_classes": 7,
    "layer_drop": 0.0,
}  # fmt: skip


def build(**changes: Any) -> Any:
    settings = {
        "vision_config": SIGLIP, "text_config": QWEN, "audio_config": BEATS,
        "connector_config": {"connector_type": "stc_connector_v35", "depth": 2}, "num_frames": 4,
        **changes,
    }  # fmt: skip
    torch.manual_seed(0)
    model = VideoLlama2ForConditionalGeneration(VideoLlama2Config(**settings)).train()
    if model.config.text_config.model_type == "mixtral":
        model.model.language_model.set_experts_implementation("eager")  # torch counts no other
    return model


def batch_of(config: Any, kinds: tuple[str, ...]) -> dict[str, Any]:
    counts = {
        "video": num_video_tokens(config, config.num_frames),
        "image": num_image_tokens(config),
        "audio": num_audio_tokens(config.audio_config, 96) if config.audio_config else 0,
    }
    row = [id_ for kind in kinds for id_ in [getattr(config, f"{kind}_token_id")] * counts[kind]]
    ids = torch.tensor([row + list(range(3, 30))] * 2)
    labels = torch.where(ids > 20, ids, -100)
    side = config.vision_config.image_size
    media = {
        "video": {"pixel_values_videos": torch.randn(2, config.num_frames, 3, side, side)},
        "image": {"pixel_values": torch.randn(2, 3, side, side)},
        "audio": {"input_features": torch.randn(2, 96, 128)},
    }
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids),
             "labels": labels.masked_fill(ids >= config.text_config.vocab_size, -100)}  # fmt: skip
    for kind in kinds:
        batch |= media[kind]
    return batch


def lengths_of(batch: dict[str, Any]) -> tuple[int, ...]:
    return tuple(batch["attention_mask"].sum(1).tolist())


def convolution_backward(*shapes: Any, out_shape: Any = None, **_: Any) -> int:
    """Torch's own count, but for its weights' gradient, which it counts as if without groups."""
    given, for_weight = list(shapes[:11]), list(shapes[:11])
    given[10], for_weight[10] = [shapes[10][0], False, False], [False, shapes[10][1], False]
    input_part, weight_part = (
        flop_registry[torch.ops.aten.convolution_backward].__wrapped__(*these, out_shape=out_shape)
        for these in (given, for_weight)
    )
    return input_part + weight_part // shapes[9]


def counted(model: Any, batch: dict[str, Any]) -> tuple[float, float]:
    """Forward, and forward with backward, as torch counts them."""
    rest_frozen_encoders(model)
    inputs = {**batch, "logits_to_keep": learned_positions(batch["labels"]), "use_cache": False}
    own = {torch.ops.aten.convolution_backward: convolution_backward}
    with sdpa_kernel(SDPBackend.MATH):  # torch counts no fused attention on CPUs
        with FlopCounterMode(display=False) as forward, torch.no_grad():
            model(**inputs)
        with FlopCounterMode(display=False, custom_mapping=own) as step:
            model(**inputs).loss.backward()
    return forward.get_total_flops(), step.get_total_flops()


# Torch counts the turning of positions to angles too, and where layers stand side by side we count
# a gradient to the first ones' input that nobody takes.
@pytest.mark.parametrize(
    ("recipe", "settings", "changes", "kinds"),
    [
        ("video_pretrain", (), {}, ("video",)),
        ("video_pretrain", (), {"vision_config": CLIP}, ("video",)),
        ("video_pretrain", (), {"vision_config": DINO}, ("image", "video")),
        ("video_pretrain", ("train.vision=1e-4",), {}, ("video", "image")),
        ("video_finetune", (), {}, ("video",)),
        ("video_finetune", (), {"text_config": MIXTRAL}, ("video",)),
        ("video_finetune", (), {"text_config": GPT2}, ("video",)),
        ("video_finetune", (), {"connector_config": {"connector_type": "mlp2x_gelu"}}, ("video",)),
        ("video_finetune", (), {"connector_config": {"connector_type": "stp_connector"}},
         ("image",)),
        ("audio_pretrain", (), {}, ("audio",)),
        ("audio_finetune", (), {}, ("audio",)),
        ("audio_visual_joint", (), {}, ("video", "audio")),
        ("lora", ("adapter.rank=4", "train.connector=null"), {}, ("video",)),
        ("lora", ("adapter.rank=4",), {}, ("video",)),
        ("video_finetune", ("train.connector=null",), {}, ()),
    ],
)  # fmt: skip
def test_against_torchs_counter(
    recipe: str, settings: tuple[str, ...], changes: dict[str, Any], kinds: tuple[str, ...]
) -> None:
    model = build(**changes)
    chosen = load_recipe(recipe, ["model.start=x", *settings])
    if chosen.adapter is not None:
        add_adapters(model, chosen.adapter)
    choose(model, chosen)
    batch = batch_of(model.config, kinds)
    flops, sizes = StepFlops(model), sizes_of(batch, lengths_of(batch))
    forward, step = counted(model, batch)
    assert flops.forward(sizes) == pytest.approx(forward, rel=1e-3)
    assert flops.step(sizes) == pytest.approx(step, rel=0.01)


def test_media_that_were_encoded_before() -> None:
    model = build()
    choose(model, load_recipe("audio_visual_joint", ["train.audio=null"]))
    batch = batch_of(model.config, ("video", "audio"))
    with torch.no_grad():
        pixels, sound = batch.pop("pixel_values_videos"), batch.pop("input_features")
        batch["encoded_videos"] = model.model.encode_frames(pixels)
        batch["encoded_sounds"] = model.model.audio_tower(sound)
    flops, sizes = StepFlops(model), sizes_of(batch, lengths_of(batch))
    forward, step = counted(model, batch)
    assert flops.forward(sizes) == pytest.approx(forward, rel=1e-3)
    assert flops.step(sizes) == pytest.approx(step, rel=0.01)


def test_recomputation_and_padding_are_no_work() -> None:
    model = build(audio_config=None)
    choose(model, load_recipe("video_finetune"))
    batch = batch_of(model.config, ("video",))
    before = StepFlops(model).step(sizes_of(batch, lengths_of(batch)))
    fills = {"input_ids": 0, "attention_mask": 0, "labels": -100}
    pad = torch.nn.functional.pad
    padded = {name: pad(batch[name], (0, 9), value=fill) for name, fill in fills.items()}
    model.activation_checkpointing_enable({"use_reentrant": False})
    assert StepFlops(model).step(sizes_of({**batch, **padded}, lengths_of(batch))) == before


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4), ("NVIDIA H100 PCIe", 756), ("NVIDIA H200", 989.4),
        ("NVIDIA H100 NVL", 835.5), ("NVIDIA GH200 480GB", 989.4), ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362), ("NVIDIA L4", 121), ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA RTX 6000 Ada Generation", 364.2), ("NVIDIA A10", 125),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None), ("NVIDIA A10G", None), ("Tesla T4", None),
    ],
)  # fmt: skip
def test_peaks(name: str, tera: float | None) -> None:
    assert peak_of(name) == (None if tera is None else tera * 1e12)
