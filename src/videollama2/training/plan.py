"""A dry run: what would train, how long, in how much memory; without weights, data or network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from videollama2.assistant import resolve
from videollama2.checkpoints import four_bit
from videollama2.checkpoints.load import empty_model
from videollama2.model.config import VideoLlama2Config
from videollama2.model.tokens import (
    num_audio_tokens,
    num_image_tokens,
    num_video_tokens,
)
from videollama2.training.adapters import add_adapters
from videollama2.training.data import mixture_of, open_list, steps_for
from videollama2.training.errors import RecordsError
from videollama2.training.memory import Load, Memory, step_memory
from videollama2.training.parts import PartCount, choose, count
from videollama2.training.recipe import Recipe
from videollama2.training.records import Record, absent_files
from videollama2.training.shapes import planned_config
from videollama2.training.shards import ShardList

TEXT_TOKENS = 64  # a question and an answer of usual length


@dataclass(frozen=True)
class Plan:
    """What a run would be. `tokens` of each kind of medium; `steps` None where nobody can tell."""

    parts: tuple[PartCount, ...]
    tokens: dict[str, int]
    records: int | None
    steps: int | None
    accumulation: int
    memory: Memory
    warnings: tuple[str, ...]


def plan(recipe: Recipe, *, devices: int = 1, half: bool = True) -> Plan:
    """The plan of a recipe on so many devices; `half`: computing in bfloat16.

    Raises:
        TrainingError: the recipe cannot be, whatever the data.
    """
    recipe.check()
    accumulation = recipe.batch.accumulation(devices)
    config = planned_config(recipe.model)
    model = empty_model(config)
    is_narrow = recipe.quantization is not None
    spared = four_bit.spared_bytes(model, 2 if half else 4) if is_narrow else 0
    if recipe.adapter is not None:
        add_adapters(model, recipe.adapter, empty=True)
    choose(model, recipe)
    parts = tuple(count(model))
    tokens = _tokens(config)
    records, warnings = _records(recipe)
    start = recipe.model.start
    if start is None:
        warnings.insert(0, "model.start is not set: a run needs a checkpoint to start from")
    elif not Path(resolve(start)).is_dir():
        warnings.insert(0, f"model.start {start}: no such folder here")
    steps = None if records is None else steps_for(recipe, records)
    load = _load(recipe, config)
    memory = step_memory(model, recipe, load, half=half, cuda=half, devices=devices)
    memory = replace(memory, weights=memory.weights - spared)
    return Plan(parts, tokens, records, steps, accumulation, memory, tuple(warnings))


def _tokens(config: VideoLlama2Config) -> dict[str, int]:
    video = num_video_tokens(config, config.num_frames)
    tokens = {"text": TEXT_TOKENS, "image": num_image_tokens(config), "video": video}
    if config.audio_config is not None:
        audio = num_audio_tokens(config.audio_config, config.audio_config.max_fbank_frames)
        tokens |= {"audio": audio, "audio-visual": video + audio}
    return tokens


def _records(recipe: Recipe) -> tuple[int | None, list[str]]:
    """Records of an epoch as far as can be told, and what is absent or wrong."""
    warnings: list[str] = []
    lists: list[Sequence[Record]] = []
    for file in recipe.data.files:
        try:
            records = open_list(file, recipe.data)
        except RecordsError as error:
            warnings += str(error).splitlines()
            continue
        lists.append(records)
        missing = records.absent() if isinstance(records, ShardList) else absent_files(records)
        warnings += str(RecordsError(missing)).splitlines()
    if recipe.data.files and len(lists) == len(recipe.data.files):
        return mixture_of(recipe, lists).epoch_length, warnings
    if not recipe.data.files:
        warnings.append("data.files is not set: steps are told for data.expected_records")
    return recipe.data.expected_records, warnings


def _load(recipe: Recipe, config: VideoLlama2Config) -> Load:
    """What a row holds: the media of the parts that train, or all if the language model does."""
    trained = {*recipe.train.rates(), *(recipe.adapter.parts if recipe.adapter else ())}
    words = "language_model" in trained
    return Load(
        TEXT_TOKENS,
        TEXT_TOKENS,
        video=words or bool(trained & {"vision", "connector"}),
        audio=config.audio_config is not None
        and (words or bool(trained & {"audio", "audio_projector"})),
    )
