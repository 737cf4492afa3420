"""A run's adapter as files: peft's own form, which `PeftModel.from_pretrained` takes."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from videollama2.checkpoints.lora import ADAPTER_FILES
from videollama2.training.parts import ADAPTER, PREFIXES
from videollama2.training.recipe import Recipe

_PEFT_PREFIX = "base_model.model."
_safetensors: Any = safetensors.torch  # it is untyped


def save_adapter(model: Any, recipe: Recipe, base: str, folder: Path) -> None:
    """Write a model's adapters, not merged, upon the checkpoint `base` (a folder or hub id).

    Parts that trained whole beside them are in the same file, as peft's `modules_to_save`, so that
    checkpoint and folder together are the trained model. Numbers keep the dtype they trained in.
    """
    import peft

    peft_calls: Any = peft  # it is untyped
    parameters: dict[str, Tensor] = dict(model.named_parameters())
    adapters = {name: value for name, value in parameters.items() if ADAPTER in name}
    adapters = peft_calls.get_peft_model_state_dict(model, adapters, save_embedding_layers=False)
    whole = whole_modules(model, recipe)
    beside = {
        name: value
        for name, value in parameters.items()
        if ADAPTER not in name and name.startswith(tuple(f"{module}." for module in whole))
    }
    folder.mkdir(parents=True, exist_ok=True)
    _safetensors.save_file(
        {
            _PEFT_PREFIX + name: value.detach().cpu().contiguous()
            for name, value in {**adapters, **beside}.items()
        },
        folder / ADAPTER_FILES[0],
        metadata={"format": "pt"},
    )
    config = deepcopy(model.peft_config["default"])
    config.base_model_name_or_path = str(Path(base).resolve()) if Path(base).is_dir() else base
    config.modules_to_save = whole or None
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules)
    config.save_pretrained(folder)
    model.config.save_pretrained(folder)


def whole_modules(model: nn.Module, recipe: Recipe) -> list[str]:
    """The modules whose own weights train, without adapters."""
    rates = recipe.train.rates()
    modules = [prefix.rstrip(".") for prefix, part in PREFIXES.items() if part in rates]
    named = {name for name, _ in model.named_parameters()}
    return [name for name in modules if any(one.startswith(f"{name}.") for one in named)]
