"""A run in processes that Ray Train starts, watches and starts again."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from videollama2.engines.cluster import LOOK, ClusterError, connected
from videollama2.training.recipe import Recipe
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train

_FAILURES = 3


def train_on_ray(
    recipe: Recipe, words: list[str], address: str, processes: int | None = None
) -> Path:
    """Train by `words` (a recipe's name and settings, which `recipe` was made of) on a cluster.

    `processes` None takes one for each GPU, or one where there are none. When a process or machine
    dies the others are ended, and all begin again from the last checkpoint, three times. Paths are
    those of this process's folder, and all machines see them. Gives the model's folder.

    Raises:
        ClusterError: there is no Ray, no such cluster, or training failed there.
        TrainingError: the batch cannot be shared by so many.
    """
    with connected(address) as ray:
        gpus = int(ray.cluster_resources().get("GPU", 0))
        number = processes or gpus or 1
        recipe.batch.accumulation(number)
        made: Any = import_module("ray.train")
        torch_side: Any = import_module("ray.train.torch")
        folder = Path(recipe.run.folder).absolute()
        trainer = torch_side.TorchTrainer(
            _train,
            train_loop_config={"words": words, "folder": os.getcwd()},
            torch_config=torch_side.TorchConfig(
                backend=_backend(recipe, gpus > 0), timeout_s=60 * recipe.parallel.timeout_minutes
            ),
            scaling_config=made.ScalingConfig(num_workers=number, use_gpu=gpus > 0),
            run_config=made.RunConfig(
                name=".ray",
                storage_path=str(folder),
                failure_config=made.FailureConfig(max_failures=_FAILURES),
            ),
        )
        try:
            trainer.fit()
        except (RuntimeError, ray.exceptions.RayError) as error:
            raise ClusterError("Ray Train", _last_line(error), LOOK) from error
    return folder / "model"


def _train(config: dict[str, Any]) -> None:
    """What each process does. The process group is Ray's."""
    os.chdir(config["folder"])
    recipe, *settings = config["words"]
    train(load_recipe(recipe, settings))


def _backend(recipe: Recipe, on_gpu: bool) -> str:
    """Parts kept in main memory have to meet as well."""
    if not on_gpu:
        return "gloo"
    return "cpu:gloo,cuda:nccl" if recipe.parallel.cpu_offload else "nccl"


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
