"""Several processes that train one model: begun together, the model shared out, gathered again.

DDP keeps a whole model in every process. FSDP2 (`torch.distributed.fsdp.fully_shard`) keeps a part
of each parameter, of its gradient and of the optimizer's moments in each, on CPUs (gloo) as on
GPUs (NCCL), by the same lines.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor, nn

from videollama2.training.errors import TrainingError
from videollama2.training.recipe import ParallelSection

Value = TypeVar("Value")

# Launchers' own settings of what the recipe says.
_OTHERS_SAY = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")


def devices() -> int:
    """Processes that train together (as the launcher says it)."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this process writes and speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def on_cpu() -> bool:
    """Whether there is no accelerator, or it is not to be used (`ACCELERATE_USE_CPU=true`)."""
    asked = os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("1", "true", "yes")
    return asked or not torch.accelerator.is_available()


def begin(section: ParallelSection) -> None:
    """Meet the other processes, if any.

    Raises:
        TrainingError: the launcher brings settings of its own.
    """
    for name in _OTHERS_SAY:
        if os.environ.get(name, "false").lower() == "true":
            raise TrainingError(
                f"the launcher sets {name}, but the recipe says how a model is shared out: "
                "launch without it and say parallel.kind=fsdp2 (or deepspeed_zero3)"
            )
    if devices() == 1:
        PartialState(cpu=on_cpu())
        return
    if not is_first_process():
        logging.getLogger("videollama2.training").setLevel(logging.ERROR)
    options: dict[str, Any] = {"timeout": timedelta(minutes=section.timeout_minutes)}
    met = torch.distributed.is_initialized()  # as Ray Train does it
    if section.cpu_offload and not on_cpu() and not met:  # parts in main memory meet as well
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl", **options)
    PartialState(cpu=on_cpu(), **options)


def share_out(model: nn.Module, section: ParallelSection) -> None:
    """Leave each process its part of the parameters, in place (`parallel.kind=fsdp2`).

    A decoder layer is gathered when it runs. All else is gathered for the whole step: a batch may
    have no sound, or no pictures, and a layer that one process runs and another does not would
    leave them waiting for each other.
    """
    if section.kind != "fsdp2" or devices() == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    state: Any = PartialState()
    kind = str(state.device.type)
    offload = CPUOffloadPolicy(pin_memory=kind != "cpu") if section.cpu_offload else OffloadPolicy()
    untyped: Any = fully_shard
    options: dict[str, Any] = {
        "mesh": init_device_mesh(kind, (devices(),)),
        "offload_policy": offload,
        # Quantized weights are no numbers that could be cut anywhere: each process keeps them.
        "ignored_params": {p for p in model.parameters() if not p.is_floating_point()},
    }
    for layer in decoder_layers(model):
        untyped(layer, reshard_after_forward=section.reshard_after_forward, **options)
    untyped(model, reshard_after_forward=False, **options)


def decoder_layers(model: Any) -> list[nn.Module]:
    """The language model's layers, as its family names them."""
    language_model: Any = model.model.language_model
    names: Iterable[str] = getattr(language_model, "_no_split_modules", None) or ()
    modules = cast("Iterable[nn.Module]", language_model.modules())
    return [module for module in modules if type(module).__name__ in set(names)]


def is_shared_out(model: nn.Module) -> bool:
    """Whether this process has only a part of the model."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def whole(value: Tensor) -> Tensor:
    """A tensor from the parts that all processes have; all of them call this together."""
    if hasattr(value, "ds_id"):  # ZeRO-3's
        import deepspeed  # pyright: ignore[reportMissingImports]

        untyped: Any = deepspeed
        with untyped.zero.GatheredParameters([value]):
            return value.detach().clone()
    return cast("Any", value).full_tensor() if _is_part(value) else value


def part_like(value: Tensor, parameter: Tensor) -> Tensor:
    """This process's part of a whole tensor, shared out as a parameter is."""
    if not _is_part(parameter) or value.shape != parameter.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    spread = cast("Any", parameter)
    return distribute_tensor(value, spread.device_mesh, spread.placements, src_data_rank=None)


def whole_state(optimizer: Any, *, keep: bool) -> dict[str, Any]:
    """An optimizer's state as one process alone has it; all processes call this together.

    Only those that `keep` it get its tensors, in main memory.
    """
    state: dict[str, Any] = optimizer.state_dict()
    gathered: dict[int, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            complete = whole(value) if isinstance(value, Tensor) else value
            if keep:
                kept = complete.cpu() if isinstance(complete, Tensor) else complete
                gathered.setdefault(index, {})[name] = kept
    return {**state, "state": gathered}


def parts_of_state(state: dict[str, Any], optimizer: Any) -> dict[str, Any]:
    """`whole_state`, shared out as the optimizer's parameters are."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    ids = [index for group in state["param_groups"] for index in group["params"]]
    parts = {
        index: {
            name: part_like(value, parameter) if isinstance(value, Tensor) else value
            for name, value in state["state"][index].items()
        }
        for index, parameter in zip(ids, parameters, strict=True)
        if index in state["state"]
    }
    return {**state, "state": parts}


def from_all(value: Value) -> list[Value]:
    """What each process gives, in their order; all processes call this together."""
    return [value] if devices() == 1 else cast("list[Value]", gather_object([value]))


def end() -> None:
    """Part from the other processes."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _is_part(value: Tensor) -> bool:
    return hasattr(value, "full_tensor")
