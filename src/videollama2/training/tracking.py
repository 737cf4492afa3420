"""Trackers that show a run's metrics elsewhere, through transformers' callbacks for them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from videollama2.training.errors import TrainingError
from videollama2.training.recipe import Recipe

TENSORBOARD = "tensorboard"  # the folder of its event files in a run's
_REMEDIES = {
    "tensorboard": "pip install 'videollama2[tracking]'",
    "trackio": "pip install trackio",
    "wandb": "pip install wandb",
}
_CALLBACKS = {"trackio": "TrackioCallback", "wandb": "WandbCallback"}


def check_trackers(recipe: Recipe) -> None:
    """Whether what the recipe reports to is installed.

    Raises:
        TrainingError: it is not.
    """
    for tracker in recipe.run.report_to:
        try:
            import_module(tracker)
        except ImportError as error:
            raise TrainingError(
                f"run.report_to={tracker} needs a package: {_REMEDIES[tracker]}, "
                "or leave it out: metrics.jsonl is always written"
            ) from error


def tracker_callbacks(recipe: Recipe, step: int) -> list[Any]:
    """A callback for each tracker of the recipe, in the first process; `step` is the last done."""
    integrations: Any = import_module("transformers.integrations")
    made: list[Any] = []
    for tracker in recipe.run.report_to:
        if tracker == "tensorboard":
            tensorboard: Any = import_module("torch.utils.tensorboard")
            folder = Path(recipe.run.folder) / TENSORBOARD
            # What a run that was stopped had written of later steps comes again.
            writer = tensorboard.SummaryWriter(str(folder), purge_step=step + 1 if step else None)
            made.append(integrations.TensorBoardCallback(writer))
        else:
            made.append(getattr(integrations, _CALLBACKS[tracker])())
    return made
