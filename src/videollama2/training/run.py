"""One run from a recipe: begun, gone on with, or finished already; its folder holds everything.

`recipe.yaml` as resolved, `metrics.jsonl` and its picture `loss.svg`, `skipped.jsonl`,
`checkpoint-N/`, and `model/` at the end, which `from_pretrained` takes; where adapters trained,
they are in `adapter/`, not merged.
"""

from __future__ import annotations

import logging
import math
import shutil
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import PartialState
from transformers import TrainingArguments, set_seed

from videollama2.assistant import resolve
from videollama2.checkpoints import four_bit
from videollama2.checkpoints.load import load_model, load_processor
from videollama2.model.config import VideoLlama2Config
from videollama2.training.adapter_files import save_adapter
from videollama2.training.adapters import add_adapters, check_installed, merge_adapters
from videollama2.training.checkpoint import (
    checkpoints,
    find,
    load_trained,
    processes_of,
    trained,
)
from videollama2.training.collate import Collator, RecordDataset, RowMaker, pad_id_of
from videollama2.training.data import Lists, read_lists
from videollama2.training.errors import RecordError, RecordsError, TrainingError
from videollama2.training.features import FeatureStore, check_settings, settings_of
from videollama2.training.flops import peak_flops
from videollama2.training.labels import ChatEncoder, check_unheard
from videollama2.training.metrics import Metrics
from videollama2.training.packing import Packing
from videollama2.training.parallel import (
    begin,
    devices,
    is_first_process,
    is_shared_out,
    on_cpu,
    share_out,
)
from videollama2.training.parts import choose, forget_origins, recompute_layers
from videollama2.training.picture import draw_losses
from videollama2.training.progress import Progress
from videollama2.training.recipe import Recipe
from videollama2.training.recipe_file import differences, dump_recipe, load_recipe
from videollama2.training.shards import ShardList
from videollama2.training.skipped import SkippedList, replace_text
from videollama2.training.tracking import check_trackers, tracker_callbacks
from videollama2.training.trainer import StageTrainer, StopWhenAsked
from videollama2.training.zero import check_goes_on, check_zero, is_partitioned, zero_config

log = logging.getLogger("videollama2.training")
RECIPE, METRICS, MODEL, ADAPTER = "recipe.yaml", "metrics.jsonl", "model", "adapter"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: after which step of how many, and where the model is once it is done."""

    step: int
    steps: int
    model: Path | None


def train(recipe: Recipe, *, progress: bool = False) -> Outcome:
    """Train, or go on with a run that was stopped, from its last whole checkpoint.

    What can be wrong with the recipe and the data is said before any weight is read. On SIGTERM
    the run is saved after the step at hand and ends without a model. `progress` shows a bar on
    stderr; without it, a line is logged now and then.

    Raises:
        TrainingError: a setting, a record or the run's folder is not as it should be.
        CheckpointError: the model to start from cannot be read.
    """
    folder = Path(recipe.run.folder)
    lists = _check(recipe)
    steps = lists.steps(recipe)
    if (folder / MODEL).is_dir():
        log.info("%s is finished: its model is in %s", folder, folder / MODEL)
        return Outcome(steps, steps, folder / MODEL)
    begin(recipe.parallel)
    folder.mkdir(parents=True, exist_ok=True)
    if is_first_process():
        replace_text(folder / RECIPE, dump_recipe(recipe))
    with PartialState().main_process_first():
        found = find(folder)
    for line in found.damaged:
        log.warning("%s", line)
    if found.damaged or found.folder:
        log.warning("going on from %s", found.folder or "the start: no checkpoint is whole")
    if found.folder:
        check_goes_on(recipe, found.folder)
    if found.folder and processes_of(found.folder) != devices():
        log.warning(
            "%s is of a run in %d processes, now there are %d: the records come in the same "
            "order, dropout draws anew", found.folder, processes_of(found.folder), devices(),
        )  # fmt: skip
    peak = recipe.run.peak_flops or peak_flops(uses_bfloat16(recipe))
    metrics = Metrics(folder / METRICS, peak_flops=None if peak is None else peak * devices())
    skipped = SkippedList(
        folder / "skipped.jsonl", recipe.data.max_skipped, steps * recipe.batch.total
    )
    if is_first_process():
        metrics.restart(found.step)
        skipped.restart(found.step * recipe.batch.total)
    watchers = _watchers(recipe, found.step, progress)
    trainer = _trainer(recipe, lists, steps, metrics, skipped, watchers)
    with _stopped_by_sigterm(trainer.stopper), _watched(recipe, watchers[0]):
        trainer.train(resume_from_checkpoint=str(found.folder) if found.folder else None)
    step = int(trainer.state.global_step)
    if step < steps:
        log.warning("stopped and saved after step %d of %d: the same command goes on", step, steps)
        return Outcome(step, steps, None)
    if trainer.is_world_process_zero():
        _export(trainer, recipe, folder)
    trainer.accelerator.wait_for_everyone()
    return Outcome(step, steps, folder / MODEL)


def uses_bfloat16(recipe: Recipe) -> bool:
    """Whether to compute in bfloat16: as said, or where the device has it."""
    precision = recipe.optimizer.precision
    if precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"


def _has_begun(folder: Path) -> bool:
    """Whether a run has anything to lose: one that failed before its first step has not."""
    metrics = folder / METRICS
    has_steps = metrics.is_file() and metrics.stat().st_size > 0
    return has_steps or bool(checkpoints(folder)) or (folder / MODEL).is_dir()


def _check(recipe: Recipe) -> Lists:
    recipe.check()
    recipe.batch.accumulation(devices())
    check_zero(recipe)
    start = recipe.model.start
    if start is None:
        raise TrainingError(
            "there is no model to start from: say model.start=FOLDER_OR_HUB_ID "
            "(videollama2 compose puts a fresh one together)"
        )
    start = resolve(start)
    looks_local = start.startswith((".", "/", "~")) or start.count("/") != 1
    if looks_local and not Path(start).is_dir():
        raise TrainingError(f"model.start {start}: no such folder")
    if recipe.adapter is not None:
        check_installed()
    check_trackers(recipe)
    if recipe.quantization is not None:
        four_bit.check_installed()
    before = Path(recipe.run.folder) / RECIPE
    if before.is_file() and _has_begun(before.parent):
        changed = differences(load_recipe(str(before)), recipe)
        if changed:
            raise TrainingError(
                f"{recipe.run.folder} holds a run with other settings ({'; '.join(changed)}): "
                "use those, or another run.folder"
            )
    lists = read_lists(recipe)
    _check_ears(Path(start), lists)
    return lists


def _check_ears(start: Path, lists: Lists) -> None:
    """Sounds want a model that hears: its config says so before its weights are read."""
    if not (start / "config.json").is_file():
        return  # on a hub, or to be put together: each record is looked at as it comes
    untyped: Any = VideoLlama2Config
    if untyped.from_pretrained(start).audio_config is not None:
        return
    errors: list[RecordError] = []
    for records in lists.lists:
        if isinstance(records, ShardList):
            continue
        for record in records:
            try:
                check_unheard(record)
            except RecordError as error:
                errors.append(error)
    if errors:
        raise RecordsError(errors)


def _trainer(
    recipe: Recipe,
    lists: Lists,
    steps: int,
    metrics: Metrics,
    skipped: SkippedList,
    watchers: list[Any],
) -> Any:
    model, processor = load_for_training(recipe)
    features = _features(recipe, model, processor)
    share_out(model, recipe.parallel)
    encoder = ChatEncoder(processor, system_text=recipe.data.system_text)
    makers = [
        RowMaker(
            processor,
            encoder,
            file.labels or recipe.data.labels,
            recipe.data.max_text_tokens,
            recipe.data.max_tokens,
            features,
        )
        for file in recipe.data.files
    ]
    total = steps * recipe.batch.total
    stopper = StopWhenAsked()
    trainer = StageTrainer(
        recipe,
        model,
        _arguments(recipe, steps),
        skipped=skipped,
        metrics=metrics,
        epoch_length=lists.mixture.epoch_length,
        train_dataset=RecordDataset(lists.lists, lists.mixture, makers, total),
        data_collator=Collator(
            pad_id_of(processor.tokenizer),
            Packing(recipe.data.pack_tokens) if recipe.data.packing else None,
        ),
        callbacks=[stopper, *watchers],
    )
    trainer.stopper, trainer.processor = stopper, processor
    return trainer


def trained_parts(recipe: Recipe) -> set[str]:
    """The parts that change while the recipe runs."""
    adapted = recipe.adapter.parts if recipe.adapter is not None else ()
    return {*recipe.train.rates(), *adapted}


def _features(recipe: Recipe, model: Any, processor: Any) -> FeatureStore | None:
    """Stored outputs of encoders, where the recipe says so."""
    if recipe.data.features is None:
        return None
    folder = Path(recipe.data.features)
    now = settings_of(model, processor, trained_parts(recipe))
    return FeatureStore(folder, processor, check_settings(folder, now, exact=False))


def load_for_training(recipe: Recipe, *, quantized: bool = True) -> tuple[Any, Any]:
    """The model with what trains in float32, and its processor.

    Without `quantized` it is as wide as the checkpoint, whatever the recipe says.

    Raises:
        CheckpointError: it cannot be read.
        TrainingError: it lacks a part that is to train.
    """
    section = recipe.model
    start = resolve(str(section.start))
    processor: Any = load_processor(start)
    processor.limits = replace(
        processor.limits, allow_private_hosts=recipe.data.allow_private_hosts
    )
    dtype = torch.bfloat16 if uses_bfloat16(recipe) else torch.float32
    if recipe.quantization is not None and quantized:
        kept = four_bit.FourBit(recipe.quantization.kind, recipe.quantization.double)
        # Where it trains, so that its whole width never lies in the host's memory.
        state: Any = PartialState()  # it is untyped
        model: Any = load_model(start, dtype=dtype, four_bit=kept, device=state.device)
        # Experts stacked in one tensor are no linear layers, so they are not among them.
        log.info("%.1f %% of the language model is in 4 bits", 100 * four_bit.share(model))
    else:
        model = load_model(start, dtype=dtype)
    model.config.num_frames = section.num_frames
    processor.video_processor.num_frames = processor.image_frames = section.num_frames
    if section.media_mode is not None:
        model.config.media_mode = processor.feature_extractor.media_mode = section.media_mode
        if model.config.audio_config is not None:
            model.config.audio_config.mask_padding = section.media_mode == "native"
    if section.geometry is not None:
        for pictures in (processor.image_processor, processor.video_processor):
            pictures.geometry = section.geometry
    set_seed(recipe.seed)  # adapters begin at random
    if recipe.adapter is not None:
        add_adapters(model, recipe.adapter)
    choose(model, recipe)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if recipe.optimizer.gradient_checkpointing:
        recompute_layers(model)
    return model, processor


def _arguments(recipe: Recipe, steps: int) -> TrainingArguments:
    optimizer = recipe.optimizer
    rates = [*recipe.train.rates().values()]
    if recipe.adapter is not None:
        rates.append(recipe.adapter.learning_rate)
    arguments = TrainingArguments(
        output_dir=recipe.run.folder,
        per_device_train_batch_size=recipe.batch.per_device,
        gradient_accumulation_steps=recipe.batch.accumulation(devices()),
        num_train_epochs=1,  # the data set is as long as the run
        learning_rate=max(rates),
        weight_decay=optimizer.weight_decay,
        adam_beta1=optimizer.beta1,
        adam_beta2=optimizer.beta2,
        adam_epsilon=optimizer.epsilon,
        max_grad_norm=optimizer.max_grad_norm,
        lr_scheduler_type=cast("Any", optimizer.schedule),
        warmup_steps=math.ceil(optimizer.warmup_ratio * steps),
        optim="adamw_torch",
        bf16=uses_bfloat16(recipe),
        seed=recipe.seed,
        logging_steps=recipe.run.log_every,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=recipe.run.save_every,
        remove_unused_columns=False,
        dataloader_num_workers=recipe.data.workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=False,  # what a batch leaves out gets zeros
        ddp_broadcast_buffers=False,  # none of them changes
        use_cpu=on_cpu(),
        deepspeed=zero_config(recipe, half=uses_bfloat16(recipe)),
        report_to="none",  # the trackers come with the other callbacks
        run_name=Path(recipe.run.folder).name,
        project="videollama2",
        disable_tqdm=True,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # pyright: ignore[reportPrivateUsage]  (never DataParallel)
    return arguments


def _export(trainer: Any, recipe: Recipe, folder: Path) -> None:
    """The model as `from_pretrained` takes it, adapters merged; there whole or not at all."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    scattered = is_shared_out(model) or is_partitioned(model)
    if scattered:  # no process has it whole: the last checkpoint has
        model, _ = load_for_training(recipe)
        load_trained(model, checkpoints(folder)[-1])
    if recipe.adapter is not None:
        staged = _staged(folder / ADAPTER)
        save_adapter(model, recipe, resolve(str(recipe.model.start)), staged)
        trainer.processor.save_pretrained(staged)
        shutil.rmtree(folder / ADAPTER, ignore_errors=True)
        staged.rename(folder / ADAPTER)
        if recipe.quantization is not None:
            model = _unquantized(model, recipe)
        merge_adapters(model)
    forget_origins(model, recipe)
    staged = _staged(folder / MODEL)
    model.to(model.config.dtype or torch.float32).save_pretrained(staged)
    trainer.processor.save_pretrained(staged)
    staged.rename(folder / MODEL)
    log.info("the model is in %s", folder / MODEL)


def _unquantized(model: Any, recipe: Recipe) -> Any:
    """What was trained, on the checkpoint's own weights in place of those in 4 bits.

    Those only approximate it: the checkpoint's own are the better ground, and carry no such error.
    """
    whole, _ = load_for_training(recipe, quantized=False)
    learned = trained(model)
    for name, parameter in trained(whole).items():
        parameter.data.copy_(learned[name].data)
    return whole


def _staged(folder: Path) -> Path:
    """Where a folder is written until it is whole; nothing is there yet."""
    staged = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(staged, ignore_errors=True)
    return staged


def _watchers(recipe: Recipe, step: int, terminal: bool) -> list[Any]:
    """Who shows the metrics: the progress first, then the recipe's trackers."""
    shown = Progress(terminal=terminal, every_seconds=recipe.run.speak_every)
    return [shown, *(tracker_callbacks(recipe, step) if is_first_process() else ())]


@contextmanager
def _watched(recipe: Recipe, progress: Any) -> Generator[None]:
    """However what is inside ends, the bar is taken away and the losses are drawn."""
    try:
        yield
    finally:
        progress.close()
        if is_first_process():
            draw_losses(Path(recipe.run.folder) / METRICS, f"{recipe.stage}: {recipe.run.folder}")


@contextmanager
def _stopped_by_sigterm(stopper: Any) -> Generator[None]:
    """While inside, SIGTERM asks for an end after the step at hand."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(*_: object) -> None:
        stopper.asked = True

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
