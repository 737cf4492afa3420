"""transformers' Trainer, made exact: an order by position, rates by part, whole checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from videollama2.model.model import learned_positions
from videollama2.training.checkpoint import load_trained, publish, save_trained, staging
from videollama2.training.collate import COUNTED, SKIPPED
from videollama2.training.metrics import Metrics
from videollama2.training.packing import check_separate
from videollama2.training.parts import optimizer_groups, rest_frozen_encoders, unfed
from videollama2.training.recipe import Recipe
from videollama2.training.skipped import Skipped, SkippedList

_Base: Any = Trainer  # both are untyped
_Callback: Any = TrainerCallback


class StopWhenAsked(_Callback):
    """Ends training after the step at hand, with a checkpoint, once `asked` is set."""

    def __init__(self) -> None:
        self.asked = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer after each step."""
        if self.asked:
            control.should_save = True
            control.should_training_stop = True


class TriesPacking(_Callback):
    """Before the first step, makes sure that packed records do not see each other."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Called by the Trainer once the model is where it will be trained."""
        check_separate(others["model"])


class StageTrainer(_Base):
    """One stage of training.

    The data set's length is the whole run's, in the order of positions, so that a run that goes on
    after step n goes on at record n x `batch.total`, whatever the number of devices.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: Any,
        arguments: TrainingArguments,
        *,
        skipped: SkippedList,
        metrics: Metrics,
        epoch_length: int,
        **others: Any,
    ) -> None:
        self.recipe = recipe
        self.skipped_list, self.metrics = skipped, metrics
        self.epoch_length = epoch_length
        self._rates: dict[str, float] = {}  # of the step at hand
        parent: Any = super()
        parent.__init__(model=model, args=arguments, **others)
        self.remove_callback(PrinterCallback)  # the metrics are the library's voice
        if recipe.data.packing:
            self.add_callback(TriesPacking())

    # --- order ---

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: Any
    ) -> tuple[list[Any], Any]:
        """One step's batches, with the records that were left out taken off and noted."""
        parent: Any = super()
        batches, items = parent.get_batch_samples(epoch_iterator, num_batches, device)
        left_out = [one for batch in batches for one in batch.pop(SKIPPED, ())]
        left_out = cast(
            "list[Skipped]", gather_object(left_out)
        )  # every device counts all, so that all stop together
        seen = (int(self.state.global_step) + 1) * self.recipe.batch.total
        self.skipped_list.add(left_out, seen, write=bool(self.is_world_process_zero()))
        self._rates = {
            f"learning_rate/{group['name']}": float(group["lr"])
            for group in self.optimizer.param_groups
        }
        for batch in batches:
            self.metrics.saw(batch.pop(COUNTED))
        return batches, items if items is None else items.clamp(min=1)

    # --- loss ---

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The model's loss, with zero gradients for what the batch leaves out."""
        inner = self.accelerator.unwrap_model(model)
        rest_frozen_encoders(inner)
        idle = unfed(inner, inputs)
        parent: Any = super()
        keep = learned_positions(inputs["labels"])
        inputs = {**inputs, "use_cache": False, "logits_to_keep": keep}
        loss = parent.compute_loss(model, inputs, *args, **kwargs)
        if not idle:
            return loss
        nothing = torch.stack([p.reshape(-1)[:1].float().sum() for p in idle]).sum() * 0.0
        return (loss[0] + nothing, loss[1]) if isinstance(loss, tuple) else loss + nothing

    # --- optimizer ---

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW with a rate for each part."""
        if self.optimizer is None:
            trainee = self.model if model is None else model
            decays = self.get_decay_parameter_names(trainee)
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, trainee)
            self.optimizer = kind(optimizer_groups(trainee, self.recipe, decays), **options)
        return self.optimizer

    # --- checkpoints ---

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """A checkpoint that is there whole or not at all."""
        run, step = Path(self.args.output_dir), int(self.state.global_step)
        staged = run / f".checkpoint-{step}.partial"
        if self.is_world_process_zero():
            staged = staging(run, step)
            save_trained(self.accelerator.unwrap_model(model), staged)
        self.accelerator.wait_for_everyone()
        self._save_optimizer_and_scheduler(str(staged))
        self._save_scaler(str(staged))
        self._save_rng_state(str(staged))
        if self.is_world_process_zero():
            self.state.save_to_json(str(staged / TRAINER_STATE_NAME))
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            publish(staged, self.recipe.run.keep)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_trained(self.model if model is None else model, Path(resume_from_checkpoint))

    # --- what is said ---

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """A line of metrics; `epoch` counts passes over the data, not over the run."""
        step = int(self.state.global_step)
        self.state.epoch = step * self.recipe.batch.total / self.epoch_length
        parent: Any = super()
        parent.log(logs, start_time)
        if self.is_world_process_zero() and "loss" in logs:
            self.metrics.note(step=step, **logs, **self._rates, skipped=self.skipped_list.count)
