"""A dry run: what would train, how long, in how much memory; without weights, data or network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from videollama2.assistant import resolve
from videollama2.checkpoints import four_bit
from videollama2.checkpoints.load import empty_model
from videollama2.model.config import VideoLlama2Config
from videollama2.model.tokens import (
    config_connector_shape,
    num_audio_tokens,
    num_image_tokens,
    num_video_tokens,
    vision_grid,
)
from videollama2.training.adapters import add_adapters
from videollama2.training.data import mixture_of, open_list, steps_for
from videollama2.training.errors import RecordsError
from videollama2.training.parts import PartCount, choose, count
from videollama2.training.recipe import Recipe
from videollama2.training.records import Record, absent_files
from videollama2.training.shapes import planned_config
from videollama2.training.shards import ShardList

TEXT_TOKENS = 64  # a question and an answer of usual length
_MAPS_OF_A_BLOCK = 10
_ADAMW = 8  # bytes a parameter: two moments in float32


@dataclass(frozen=True)
class Memory:
    """Bytes on one device: weights, gradients, the optimizer's moments, what layers keep."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations


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
    in_four_bits = four_bit.quantizable(model) if recipe.quantization is not None else 0
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
    memory = _memory(recipe, config, parts, max(tokens.values()), half, in_four_bits)
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


def _memory(
    recipe: Recipe,
    config: VideoLlama2Config,
    parts: tuple[PartCount, ...],
    media_tokens: int,
    half: bool,
    in_four_bits: int,
) -> Memory:
    """An estimate. Frozen weights are kept in the width computed in, or so many in 4 bits,
    trainable ones in float32 with a copy in that width; with recomputation a layer keeps its input
    alone, and one layer at a time all it makes; logits are kept in both widths, with their
    gradient.
    """
    width = 2 if half else 4
    trainable = sum(part.trainable for part in parts)
    frozen = sum(part.total for part in parts) - trainable
    text = config.text_config
    tokens = recipe.batch.per_device * (media_tokens + TEXT_TOKENS)
    layer = tokens * (8 * int(text.hidden_size) + 3 * int(text.intermediate_size)) * width
    layers = int(text.num_hidden_layers)
    if recipe.optimizer.gradient_checkpointing:
        kept = layers * tokens * int(text.hidden_size) * width + layer
    else:
        kept = layers * layer
    logits = tokens * int(text.vocab_size) * (width + 8)
    return Memory(
        weights=round((frozen - in_four_bits) * width + in_four_bits * four_bit.WIDTH)
        + trainable * (4 + (width if half else 0)),
        gradients=trainable * 4,
        optimizer=trainable * _ADAMW,
        activations=kept + logits + _connector_keeps(recipe, config, width),
    )


def _connector_keeps(recipe: Recipe, config: VideoLlama2Config, width: int) -> int:
    """Bytes that the connector keeps for the way back when it, or the tower before it, trains.

    A RegStage block keeps about ten maps of the language model's width: three convolutions, their
    norms and activations, the gate and the sum.
    """
    rates = recipe.train.rates()
    if "connector" not in rates and "vision" not in rates:
        return 0
    shape = config_connector_shape(config.connector_config)
    rows, columns = vision_grid(config)
    before = config.num_frames * rows * columns
    after = num_video_tokens(config, config.num_frames)
    maps = _MAPS_OF_A_BLOCK * shape.depth * (before + after) + shape.readout_depth * after
    return recipe.batch.per_device * maps * int(config.text_config.hidden_size) * width
