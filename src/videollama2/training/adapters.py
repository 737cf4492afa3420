"""Low-rank adapters on chosen parts, through peft; merged into the weights at the end."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from videollama2.training.errors import TrainingError
from videollama2.training.parts import PREFIXES
from videollama2.training.recipe import AdapterSection


def check_installed() -> None:
    """Whether peft is there.

    Raises:
        TrainingError: it is not.
    """
    try:
        import peft  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise TrainingError(
            "adapters need peft: pip install 'videollama2[train]', or say adapter=null"
        ) from error


def linear_layers(model: nn.Module, adapter: AdapterSection) -> list[str]:
    """The linear layers that get adapters: all of the parts but the output layer (6.5)."""
    return [
        name
        for name, module in _modules(model)
        if isinstance(module, (nn.Linear, Conv1D))
        and not type(module).__name__.endswith("Router")  # Phi-3.5-MoE's, which gives two things
        and any(
            name.startswith(prefix) and part in adapter.parts
            for prefix, part in PREFIXES.items()
            if prefix != "lm_head."
        )
    ]


def add_adapters(model: nn.Module, adapter: AdapterSection, *, empty: bool = False) -> None:
    """Put adapters on the linear layers of the adapter's parts, in place; they alone train there.

    `empty`: without memory for them, on a model without memory for its own.

    Raises:
        TrainingError: peft is not installed, there is no such layer, or there are two kinds.
    """
    check_installed()
    import peft

    peft_calls: Any = peft  # it is untyped
    layers = linear_layers(model, adapter)
    if not layers:
        raise TrainingError(f"{', '.join(adapter.parts)} has no linear layers for adapters")
    transposed = {isinstance(model.get_submodule(name), Conv1D) for name in layers}
    if len(transposed) > 1:  # an adapter's file has one word for all
        raise TrainingError(
            f"of {', '.join(adapter.parts)} some keep their matrices as (in, out), as GPT-2 does, "
            "and some do not: leave one kind out of adapter.parts"
        )
    config = peft_calls.LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        bias="none",
        use_dora=adapter.kind == "dora",
        fan_in_fan_out=transposed == {True},
        target_modules=layers,
    )
    peft_calls.inject_adapter_in_model(config, model, low_cpu_mem_usage=empty)


def merge_adapters(model: nn.Module) -> None:
    """Add every adapter to the weights it stands beside and take it away, in place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in _modules(model):
        if not isinstance(layer, BaseTunerLayer):
            continue
        _unwrap(model, name, layer)
    for leftover in ("peft_config", "_hf_peft_config_loaded"):
        if leftover in model.__dict__:
            delattr(model, leftover)


def _unwrap(model: nn.Module, name: str, layer: Any) -> None:
    layer.merge(safe_merge=True)
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, layer.get_base_layer())


def _modules(model: nn.Module) -> list[tuple[str, Any]]:
    return list(model.named_modules())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
