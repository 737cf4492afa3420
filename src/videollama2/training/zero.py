"""ZeRO by DeepSpeed: its config from the recipe, and what it cannot do, said before it begins."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from videollama2.training.checkpoint import processes_of
from videollama2.training.errors import TrainingError
from videollama2.training.parallel import devices, on_cpu
from videollama2.training.recipe import Recipe

STAGES = {"deepspeed_zero2": 2, "deepspeed_zero3": 3}
# The kinds of media that a batch may bring.
_MEDIA = ("pixel_values_videos", "pixel_values", "input_features")


def check_zero(recipe: Recipe) -> None:
    """Whether DeepSpeed is there and can be used, if the recipe asks for it.

    Raises:
        TrainingError: it is not.
    """
    if recipe.parallel.kind not in STAGES:
        return
    if find_spec("deepspeed") is None:
        raise TrainingError(
            f"parallel.kind={recipe.parallel.kind} needs DeepSpeed: "
            "pip install 'videollama2[deepspeed]', or say parallel.kind=fsdp2"
        )
    if on_cpu():
        raise TrainingError(
            f"parallel.kind={recipe.parallel.kind} needs GPUs: on CPUs say parallel.kind=fsdp2"
        )


def zero_config(recipe: Recipe, *, half: bool) -> dict[str, Any] | None:
    """What DeepSpeed is to do (released scripts/zero2.json and zero3.json); None without it.

    The optimizer is ours, so that each part keeps its rate; clipping is DeepSpeed's.
    """
    stage = STAGES.get(recipe.parallel.kind)
    if stage is None:
        return None
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "sub_group_size": 10**9,
    }
    if recipe.parallel.cpu_offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if stage == 3:
        zero |= {"stage3_max_live_parameters": 10**9, "stage3_max_reuse_distance": 10**9}
        if recipe.parallel.cpu_offload:
            zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": half},
        "gradient_clipping": recipe.optimizer.max_grad_norm,
        "train_batch_size": recipe.batch.total,
        "train_micro_batch_size_per_gpu": recipe.batch.per_device,
        "gradient_accumulation_steps": recipe.batch.accumulation(devices()),
    }


def check_goes_on(recipe: Recipe, folder: Path) -> None:
    """Whether a run can go on from a checkpoint in the recipe's way of sharing.

    Raises:
        TrainingError: DeepSpeed wrote it and is not to read it, or the other way round, or in
            another number of processes.
    """
    theirs = any(path.is_dir() for path in folder.glob("global_step*"))
    wanted = recipe.parallel.kind in STAGES
    if theirs != wanted:
        way = "with" if theirs else "without"
        raise TrainingError(
            f"{folder} was written {way} DeepSpeed and can go on only {way} it: set parallel.kind"
        )
    if theirs and processes_of(folder) != devices():
        raise TrainingError(
            f"{folder} was written by DeepSpeed in {processes_of(folder)} processes and can go on "
            f"only in as many, not in {devices()}"
        )


def media_of(batch: dict[str, Any]) -> tuple[str, ...]:
    """The kinds of media that a batch brings."""
    return tuple(name for name in _MEDIA if batch.get(name) is not None)


def check_alike(kinds: list[list[tuple[str, ...]]]) -> None:
    """Whether all processes have the same kinds of media in each batch of a step.

    ZeRO-3 fetches a layer from all processes where it runs: one that does not run it would leave
    the others waiting.

    Raises:
        TrainingError: they have not.
    """
    for batch in zip(*kinds, strict=True):
        if len(set(batch)) > 1:
            raise TrainingError(
                "parallel.kind=deepspeed_zero3 needs the same kinds of media in every process's "
                f"batch, and here are {sorted(set(batch))}: say parallel.kind=fsdp2"
            )


def is_partitioned(model: nn.Module) -> bool:
    """Whether ZeRO-3 has left this process only a part of each parameter."""
    return any(hasattr(parameter, "ds_id") for parameter in model.parameters())
