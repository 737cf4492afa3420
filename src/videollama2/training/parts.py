"""A model's parts by name: what trains, at which learning rate, and what stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import noop_context_fn

from videollama2.checkpoints.parts import ORIGINS
from videollama2.training.errors import TrainingError
from videollama2.training.recipe import PARTS, Part, Recipe

PREFIXES: dict[str, Part] = {
    "model.vision_tower.": "vision",
    "model.connector.": "connector",
    "model.audio_tower.": "audio",
    "model.audio_projector.": "audio_projector",
    "model.language_model.": "language_model",
    "lm_head.": "language_model",
}
ADAPTER = "lora_"  # in the names of adapters' parameters
# The sound tagger's head gives no answer's token, so no answer can teach it.
_NOT_TAUGHT = ("model.audio_tower.predictor.",)
# The media without which a part has nothing to do in a batch.
_FED_BY: dict[Part, tuple[str, ...]] = {
    "vision": ("pixel_values_videos", "pixel_values"),
    "connector": ("pixel_values_videos", "pixel_values", "encoded_videos", "encoded_images"),
    "audio": ("input_features",),
    "audio_projector": ("input_features", "encoded_sounds"),
}


@dataclass(frozen=True)
class PartCount:
    """Parameters of a part, how many of them train, and how many of these are adapters'."""

    part: Part
    total: int
    trainable: int
    adapters: int


def part_of(name: str) -> Part:
    """The part that a parameter belongs to.

    Raises:
        TrainingError: it belongs to none.
    """
    for prefix, part in PREFIXES.items():
        if name.startswith(prefix):
            return part
    raise TrainingError(f"{name} belongs to no part of the model")


def parts_present(model: nn.Module) -> set[Part]:
    """The parts that a model has."""
    return {part_of(name) for name, _ in model.named_parameters()}


def choose(model: nn.Module, recipe: Recipe) -> None:
    """Let the recipe's parts train and freeze the others; adapters are left as they are.

    Raises:
        TrainingError: the model lacks a part that is to train.
    """
    rates = recipe.train.rates()
    wanted = {*rates, *(recipe.adapter.parts if recipe.adapter else ())}
    absent = sorted(wanted - parts_present(model))
    if absent:
        raise TrainingError(f"this model has no {' and no '.join(absent)} to train")
    for name, parameter in model.named_parameters():
        if ADAPTER in name:
            continue
        parameter.requires_grad_(part_of(name) in rates and not name.startswith(_NOT_TAUGHT))


def forget_origins(model: Any, recipe: Recipe) -> None:
    """A part that trained is no longer what lies where it came from; the config says so."""
    origins: dict[str, str] | None = getattr(model.config, ORIGINS, None)
    trained = {*recipe.train.rates(), *(recipe.adapter.parts if recipe.adapter else ())}
    if origins:
        setattr(model.config, ORIGINS, {p: o for p, o in origins.items() if p not in trained})


def rest_frozen_encoders(model: Any) -> None:
    """Put encoders that do not train in evaluation mode: no layer is dropped, none recomputed.

    The language model stays in training mode: gradients run through it, and its layers are
    recomputed rather than kept.
    """
    for encoder in (model.model.vision_tower, model.model.audio_tower):
        if encoder is not None and not any(p.requires_grad for p in encoder.parameters()):
            encoder.eval()


def recompute_layers(model: Any, contexts: Callable[[], Any] = noop_context_fn) -> None:
    """Layers are run again on the way back instead of keeping what they made.

    `contexts` gives what to be in on the way forward, and when a layer is run again.

    transformers then gives what encoders are fed gradients too, which would carry them backward
    through frozen ones; recomputation without re-entry needs none of it.
    """
    enable = getattr(model, "activation_checkpointing_enable", None)  # its name from 5.22 on
    enable = enable or model.gradient_checkpointing_enable
    enable({"use_reentrant": False, "context_fn": contexts})
    model.disable_input_require_grads()


def optimizer_groups(
    model: nn.Module, recipe: Recipe, decays: Iterable[str]
) -> list[dict[str, Any]]:
    """One group for each part (and its adapters), with and without weight decay.

    `decays` names the parameters that decay: no norms, no biases (released training scripts).
    """
    decays = set(decays)
    rates: dict[str, float] = {**recipe.train.rates()}
    groups: dict[tuple[str, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part: str = part_of(name)
        rate = rates.get(part, 0.0)
        if ADAPTER in name and recipe.adapter is not None:
            part, rate = f"{part}_adapters", recipe.adapter.learning_rate
        key = (part, name in decays)
        group = groups.setdefault(
            key,
            {
                "params": [],
                "name": part,
                "lr": rate,
                "weight_decay": recipe.optimizer.weight_decay if key[1] else 0.0,
            },
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def zeros_for_what_is_left_out(model: Any) -> None:
    """From now on, what trains and a batch leaves out gets zeros as its gradient, not nothing.

    So every device agrees on what has a gradient. The zeros come in with the language model's
    input: its layers then go the way back on every device or on none.
    """
    given: set[str] = set()

    def note(_: nn.Module, __: Any, inputs: dict[str, Any]) -> None:
        given.clear()
        given.update(name for name, value in inputs.items() if value is not None)

    def add(_: nn.Module, args: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        idle = unfed(model, given)
        if idle:
            nothing = torch.stack([p.reshape(-1)[:1].float().sum() for p in idle]).sum() * 0.0
            inputs = {**inputs, "inputs_embeds": inputs["inputs_embeds"] + nothing}
        return args, inputs

    model.register_forward_pre_hook(note, with_kwargs=True)
    model.model.language_model.register_forward_pre_hook(add, with_kwargs=True)


def unfed(model: Any, given: Collection[str]) -> list[nn.Parameter]:
    """Trainable parameters that a batch of these inputs may leave out: of parts without media, or
    that drop layers.
    """
    drops = bool(getattr(model.config.audio_config, "layer_drop", 0.0))
    idle = {
        part
        for part, media in _FED_BY.items()
        if (part == "audio" and drops) or not any(name in given for name in media)
    }
    return [p for n, p in model.named_parameters() if p.requires_grad and part_of(n) in idle]


def count(model: nn.Module) -> list[PartCount]:
    """The parts that a model has, with their numbers of parameters; shared ones count once."""
    counts: dict[Part, list[int]] = {}
    for name, parameter in model.named_parameters():
        row = counts.setdefault(part_of(name), [0, 0, 0])
        row[0] += parameter.numel()
        row[1] += parameter.numel() * parameter.requires_grad
        row[2] += parameter.numel() * (parameter.requires_grad and ADAPTER in name)
    return [PartCount(part, *counts[part]) for part in PARTS if part in counts]
