"""Counted memory against what the allocator really gave out while the trainer made a step."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import TrainingArguments

from videollama2.checkpoints.load import empty_model
from videollama2.model.config import VideoLlama2Config
from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.tokens import num_audio_tokens, num_video_tokens
from videollama2.processing.parts import LoadedMedia
from videollama2.training.adapters import add_adapters
from videollama2.training.collate import Collator, Row
from videollama2.training.memory import Load, step_memory
from videollama2.training.metrics import Metrics
from videollama2.training.parts import choose, recompute_layers
from videollama2.training.recipe import Recipe
from videollama2.training.recipe_file import load_recipe
from videollama2.training.skipped import SkippedList
from videollama2.training.trainer import StageTrainer

VISION = {
    "model_type": "siglip_vision_model", "hidden_size": 96, "intermediate_size": 256,
    "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 84, "patch_size": 14,
}  # fmt: skip
TEXT = {
    "model_type": "qwen2", "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 6000,
}  # fmt: skip
AUDIO = {
    "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256,
    "patch_embedding_size": 64, "conv_pos": 16, "conv_pos_groups": 4, "layer_drop": 0.0,
    "max_seconds": 5.0,
}  # fmt: skip


def config_of(**changes: Any) -> VideoLlama2Config:
    settings: dict[str, Any] = {
        "vision_config": VISION, "text_config": TEXT, "audio_config": AUDIO,
        "connector_config": {"connector_type": "stc_connector_v35", "depth": 2}, "num_frames": 8,
        **changes,
    }  # fmt: skip
    return VideoLlama2Config(**settings)


def prepared(model: Any, recipe: Recipe, *, empty: bool) -> Any:
    if recipe.adapter is not None:
        add_adapters(model, recipe.adapter, empty=empty)
    choose(model, recipe)
    return model


def row_of(config: Any, load: Load) -> Row:
    ids: list[int] = []
    media: list[LoadedMedia] = []
    if load.video:
        side = config.vision_config.image_size
        frames = torch.randn(config.num_frames, 3, side, side)
        media.append(LoadedMedia("video", frames, None, None))
        ids += [config.video_token_id] * num_video_tokens(config, config.num_frames)
    if load.audio:
        frames = config.audio_config.max_fbank_frames
        fbank = torch.randn(frames, config.audio_config.num_mel_bins)
        media.append(LoadedMedia("audio", None, fbank, None))
        ids += [config.audio_token_id] * num_audio_tokens(config.audio_config, frames)
    text = list(range(5, 5 + load.text))
    labels = [-100] * (len(ids) + load.text - load.learned) + text[-load.learned :]
    return Row(ids + text, labels, tuple(media))


def measured(recipe: Recipe, config: Any, load: Load, folder: Path, *, half: bool) -> int:
    """The most bytes that torch's allocator had given out, two steps of the trainer long."""
    gc.collect()  # an earlier measurement's memory must not be given back during this one
    rows = [row_of(config, load)] * (2 * recipe.batch.total)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        model = VideoLlama2ForConditionalGeneration(config)
        model = prepared(model.to(torch.bfloat16 if half else torch.float32), recipe, empty=False)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        if recipe.optimizer.gradient_checkpointing:
            recompute_layers(model)
        arguments = TrainingArguments(
            output_dir=str(folder), per_device_train_batch_size=recipe.batch.per_device,
            gradient_accumulation_steps=recipe.batch.accumulation(1), num_train_epochs=1,
            report_to="none", disable_tqdm=True, save_strategy="no", bf16=half, use_cpu=True,
            optim="adamw_torch", remove_unused_columns=False, logging_steps=1, max_grad_norm=1.0,
        )  # fmt: skip
        trainer: Any = StageTrainer(
            recipe, model, arguments, train_dataset=rows, data_collator=Collator(0),
            skipped=SkippedList(folder / "s.jsonl", 0.0, len(rows)),
            metrics=Metrics(folder / "m.jsonl"), epoch_length=len(rows),
        )  # fmt: skip
        trainer.train()
        assert trainer.state.global_step == 2
    now = most = 0
    events: Any = seen.profiler.kineto_results.events()
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


CONNECTOR, FULL = "video_pretrain", "video_finetune"
LONG = {"num_frames": 16}
EXPERTS = {"text_config": {**TEXT, "model_type": "mixtral", "num_local_experts": 4}}


@pytest.mark.parametrize(
    ("name", "settings", "changes", "load", "half"),
    [
        (CONNECTOR, ("batch.total=4",), {}, Load(64, 32, True, False), True),
        (CONNECTOR, ("train.vision=1e-4",), {}, Load(64, 32, True, False), False),
        (FULL, ("optimizer.gradient_checkpointing=false",), LONG, Load(64, 32, True, False), True),
        (FULL, ("batch.per_device=4",), {}, Load(1024, 1024, False, False), False),
        ("audio_finetune", ("optimizer.gradient_checkpointing=false",), {},
         Load(64, 32, False, True), True),
        ("audio_visual_joint", ("batch.per_device=1",), {}, Load(64, 32, True, True), False),
        ("lora", ("adapter.rank=16",), {}, Load(64, 32, True, False), False),
        (FULL, (), EXPERTS, Load(64, 32, True, False), True),
    ],
)  # fmt: skip
def test_within_15_percent_of_a_measured_step(
    name: str,
    settings: tuple[str, ...],
    changes: dict[str, Any],
    load: Load,
    half: bool,
    tmp_path: Path,
) -> None:
    recipe = load_recipe(name, ["batch.total=4", "batch.per_device=2", "adapter.dropout=0"
                                if name == "lora" else "seed=1", *settings])  # fmt: skip
    if not any(text.startswith("batch.total") for text in settings):
        per_device = {"batch": recipe.batch.model_copy(update={"total": recipe.batch.per_device})}
        recipe = recipe.model_copy(update=per_device)
    config = config_of(**changes)
    model = prepared(empty_model(config_of(**changes)), recipe, empty=True)
    counted = step_memory(model, recipe, load, half=half, cuda=False).total
    given = measured(recipe, config, load, tmp_path, half=half)
    assert counted == pytest.approx(given, rel=0.15)


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (("adapter.parts=[vision]", "train.connector=null"), {}),
        ((), {"text_config": {
            "model_type": "opt", "hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "vocab_size": 300, "word_embed_proj_dim": 32,
        }}),
        ((), {"vision_config": {
            **VISION, "model_type": "siglip2_vision_model", "num_patches": 36,
        }}),
    ],
)  # fmt: skip
def test_layer_norms_are_recomputed_as_they_were(
    settings: tuple[str, ...], changes: dict[str, Any]
) -> None:
    """CUDA's layer norms, which give float32, in layers that are run again on the way back."""
    recipe = load_recipe("lora", ["batch.total=4", "adapter.rank=4", *settings])
    memory: dict[bool, int] = {}
    for again in (True, False):
        chosen = recipe.optimizer.model_copy(update={"gradient_checkpointing": again})
        model = prepared(empty_model(config_of(**changes)), recipe, empty=True)
        used = recipe.model_copy(update={"optimizer": chosen})
        load = Load(64, 32, True, False)
        memory[again] = step_memory(model, used, load, half=True, cuda=True).step
    assert 0 < memory[True] < memory[False]


def test_what_is_shared_out() -> None:
    """Two devices: DDP's buckets hold gradients twice, FSDP2 halves what lies there, and ZeRO-3
    what ZeRO-2 keeps whole.
    """
    settings = ["batch.total=8", "batch.per_device=2"]
    memory: dict[str, Any] = {}
    for kind in ("ddp", "fsdp2", "deepspeed_zero2", "deepspeed_zero3"):
        recipe = load_recipe(CONNECTOR, [*settings, f"parallel.kind={kind}"])
        for devices in (1, 2) if kind == "ddp" else (2,):
            model = prepared(empty_model(config_of()), recipe, empty=True)
            load = Load(64, 32, True, False)
            found = step_memory(model, recipe, load, half=True, cuda=True, devices=devices)
            memory[f"{kind} {devices}"] = found
    alone, ddp, fsdp2 = memory["ddp 1"], memory["ddp 2"], memory["fsdp2 2"]
    gradients = alone.optimizer // 2
    assert (ddp.weights, ddp.optimizer) == (alone.weights, alone.optimizer)
    assert ddp.step == pytest.approx(alone.step + gradients, rel=0.01)
    assert (2 * fsdp2.weights, 2 * fsdp2.optimizer) == (alone.weights, alone.optimizer)
    assert fsdp2.step > alone.step - gradients
    assert memory["deepspeed_zero2 2"].optimizer == fsdp2.optimizer
    assert memory["deepspeed_zero3 2"].total <= memory["deepspeed_zero2 2"].total
