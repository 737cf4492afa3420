"""transformers' Trainer, made exact: an order by position, rates by part, whole checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME

from videollama2.model.model import learned_positions
from videollama2.training.checkpoint import load_trained, publish, save_trained, staging
from videollama2.training.collate import COUNTED, SKIPPED
from videollama2.training.flops import StepFlops, sizes_of
from videollama2.training.metrics import Metrics
from videollama2.training.packing import check_separate
from videollama2.training.parallel import (
    from_all,
    is_shared_out,
    parts_of_state,
    whole,
    whole_state,
)
from videollama2.training.parts import (
    optimizer_groups,
    rest_frozen_encoders,
    zeros_for_what_is_left_out,
)
from videollama2.training.recipe import Recipe
from videollama2.training.skipped import Skipped, SkippedList
from videollama2.training.zero import check_alike, media_of

_Base: Any = Trainer  # both are untyped
_Callback: Any = TrainerCallback


class StopWhenAsked(_Callback):
    """Ends training after the step at hand, with a checkpoint, once `asked` of any process."""

    def __init__(self) -> None:
        self.asked = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by the Trainer after each step."""
        if any(from_all(self.asked)):
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
        zeros_for_what_is_left_out(model)
        self._flops = StepFlops(model)
        parent: Any = super()
        parent.__init__(model=model, args=arguments, **others)
        if is_shared_out(model):
            _leave_as_it_is(self.accelerator)
        if self.args.process_index:  # dropout is not the same in every process
            set_seed(recipe.seed + self.args.process_index)
        self.remove_callback(PrinterCallback)  # the metrics are the library's voice
        if recipe.data.packing:
            self.add_callback(TriesPacking())

    # --- order ---

    def get_train_dataloader(self) -> Any:
        """The batches, left in main memory until they are worked on: a step fetches all of its
        batches together, and accelerate would put each on the device at once.
        """
        parent: Any = super()
        loader = parent.get_train_dataloader()
        loader.device = None
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: Any
    ) -> tuple[list[Any], Any]:
        """One step's batches, with the records that were left out taken off and noted."""
        self.metrics.step_begins()
        parent: Any = super()
        everyones: list[Skipped] = []
        batches, items = parent.get_batch_samples(epoch_iterator, num_batches, device)
        left_out = [one for batch in batches for one in batch.pop(SKIPPED, ())]
        counted = [batch.pop(COUNTED) for batch in batches]
        # Every process counts what all of them read, so that all stop together.
        if self.recipe.parallel.kind == "deepspeed_zero3":
            check_alike(from_all([media_of(batch) for batch in batches]))
        work = sum(
            self._flops.step(sizes_of(batch, one.lengths))
            for batch, one in zip(batches, counted, strict=True)
        )
        for its_left_out, its_counted, its_work in from_all((left_out, counted, work)):
            everyones += its_left_out
            self.metrics.worked(its_work)
            for one in its_counted:
                self.metrics.saw(one)
        everyones.sort(key=lambda one: one.position)
        seen = (int(self.state.global_step) + 1) * self.recipe.batch.total
        self.skipped_list.add(everyones, seen, write=bool(self.is_world_process_zero()))
        self._rates = {
            f"learning_rate/{group['name']}": float(group["lr"])
            for group in self.optimizer.param_groups
        }
        return batches, items if items is None else items.clamp(min=1)

    # --- loss ---

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The model's loss."""
        rest_frozen_encoders(self.accelerator.unwrap_model(model))
        parent: Any = super()
        keep = learned_positions(inputs["labels"])
        inputs = {**inputs, "use_cache": False, "logits_to_keep": keep}
        return parent.compute_loss(model, inputs, *args, **kwargs)

    # --- optimizer ---

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        parent: Any = super()
        norm = parent._get_grad_norm(model, grad_norm=grad_norm)
        return whole(norm) if isinstance(norm, Tensor) else norm

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
        first = bool(self.is_world_process_zero())
        if first:
            staged = staging(run, step)
        self.accelerator.wait_for_everyone()
        save_trained(self.accelerator.unwrap_model(model), staged, write=first)
        self._save_optimizer_and_scheduler(str(staged))
        self._save_scaler(str(staged))
        self._save_rng_state(str(staged))
        if first:
            self.state.save_to_json(str(staged / TRAINER_STATE_NAME))
        self.accelerator.wait_for_everyone()
        if first:
            publish(staged, self.recipe.run.keep)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_trained(self.model if model is None else model, Path(resume_from_checkpoint))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        parent: Any = super()
        if not is_shared_out(self.model):
            parent._save_optimizer_and_scheduler(output_dir)
            return
        state = whole_state(self.optimizer, keep=self.args.should_save)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        parent: Any = super()
        if checkpoint is None or not is_shared_out(self.model):
            parent._load_optimizer_and_scheduler(checkpoint)
            return
        folder = Path(checkpoint)
        state = torch.load(folder / OPTIMIZER_NAME, "cpu", mmap=True, weights_only=True)
        self.optimizer.load_state_dict(parts_of_state(state, self.optimizer))
        schedule = torch.load(folder / SCHEDULER_NAME, weights_only=True)
        self.lr_scheduler.load_state_dict(schedule)

    def _move_model_to_device(self, model: nn.Module, device: Any) -> None:
        if not is_shared_out(model):  # its parts are where they belong
            parent: Any = super()
            parent._move_model_to_device(model, device)

    # --- what is said ---

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """A line of metrics; `epoch` counts passes over the data, not over the run."""
        step = int(self.state.global_step)
        self.state.epoch = step * self.recipe.batch.total / self.epoch_length
        parent: Any = super()
        if "loss" not in logs:
            parent.log(logs, start_time)
            return
        speed = self.metrics.speed(int(self.state.max_steps) - step)
        logs |= {**self._rates, "skipped": self.skipped_list.count, **speed}
        parent.log(logs, start_time)
        if self.is_world_process_zero():
            self.metrics.note(step=step, **logs)


def _leave_as_it_is(accelerator: Any) -> None:
    """Let accelerate set the width to compute in, and neither move nor wrap the model."""
    prepare = accelerator.prepare_model

    def prepare_model(model: nn.Module, **_: Any) -> nn.Module:
        return prepare(model, device_placement=False, evaluation_mode=True)

    accelerator.prepare_model = prepare_model
