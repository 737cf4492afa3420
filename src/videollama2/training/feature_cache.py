"""Running frozen encoders over all media of a recipe once, and what that gains."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from videollama2.media.errors import MediaError
from videollama2.model.tokens import num_audio_tokens, vision_grid
from videollama2.processing.parts import LoadedMedia, kind_of
from videollama2.training.check import key_of
from videollama2.training.collate import SKIPPED, Collator, Row, RowMaker, pad_id_of
from videollama2.training.data import Lists, read_lists
from videollama2.training.errors import RecordError
from videollama2.training.features import (
    PICTURES,
    SOUND,
    Batch,
    FeatureError,
    FeatureStore,
    begin,
    settings_of,
    write_batch,
)
from videollama2.training.labels import ChatEncoder
from videollama2.training.parts import rest_frozen_encoders, zeros_for_what_is_left_out
from videollama2.training.recipe import Recipe
from videollama2.training.records import Medium
from videollama2.training.run import load_for_training, trained_parts, uses_bfloat16

Width = Literal["auto", "bfloat16", "float32"]
FILE_BYTES = 1 << 30
_BATCHES = 4  # that are timed


@dataclass
class Cached:
    """What was stored: media, those known before, bytes, and what could not be read."""

    media: int = 0
    known: int = 0
    bytes: int = 0
    failed: list[str] = field(default_factory=list[str])
    samples_s: tuple[float, float] | None = None  # without the features, with them


def cache_features(
    recipe: Recipe,
    folder: Path,
    *,
    width: Width = "auto",
    progress: Callable[[int, int], None] = lambda _done, _of: None,
    estimated: Callable[[int, int], None] = lambda _bytes, _free: None,
    file_bytes: int = FILE_BYTES,
) -> Cached:
    """Store what the recipe's frozen encoders make of its media; what is there already stays.

    `width` is the number format: "auto" keeps what the encoders give, so that a run's losses are
    the same. `estimated` is told bytes at most and bytes free before anything is made.

    Raises:
        FeatureError: no encoder is frozen, the folder was made otherwise, or the disk is too small.
        TrainingError: the recipe or its lists are wrong.
    """
    recipe.check()
    lists = read_lists(recipe)
    model, processor = load_for_training(recipe)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    model.eval()
    settings = settings_of(model, processor, trained_parts(recipe))
    begin(folder, {**settings})
    store = FeatureStore(folder, processor, settings)
    media, done = _waiting(lists, store)
    _check_space(folder, model, media, settings, width, estimated)
    cached = Cached(known=done)
    batch = Batch({}, {})
    for count, medium in enumerate(media, 1):
        try:
            key, file = store.key(medium)
            parts = _encode(model, processor.load_media(medium), settings, recipe)
        except MediaError as error:
            cached.failed.append(str(error))
        else:
            batch.tensors[key] = {name: _wide(tensor, width) for name, tensor in parts.items()}
            if file is not None:
                batch.files[str(medium.source)] = file
            cached.media += 1
        if batch.tensors and (batch.bytes >= file_bytes or count == len(media)):
            cached.bytes += batch.bytes
            write_batch(folder, batch)
            batch = Batch({}, {})
        progress(count, len(media))
    store = FeatureStore(folder, processor, settings)
    cached.samples_s = _throughput(recipe, lists, model, processor, store)
    return cached


def _waiting(lists: Lists, store: FeatureStore) -> tuple[list[Medium], int]:
    """Every medium of all lists once, without those that are stored; how many these are."""
    media: dict[str, Medium] = {}
    for records in lists.lists:
        for place in range(len(records)):
            try:
                record = records[place]
            except RecordError:  # of a damaged shard; training counts it
                continue
            for medium in record.media:
                media.setdefault(key_of(medium), medium)
    waiting: list[Medium] = []
    for medium in media.values():
        try:
            if store.find(store.key(medium)[0]) is not None:
                continue
        except MediaError:  # said when it is read
            pass
        waiting.append(medium)
    return waiting, len(media) - len(waiting)


def _check_space(
    folder: Path,
    model: Any,
    media: Sequence[Medium],
    settings: dict[str, Any],
    width: Width,
    estimated: Callable[[int, int], None],
) -> None:
    each = 4 if width == "float32" or (width == "auto" and not _is_half(model)) else 2
    config = model.config
    rows, columns = vision_grid(config)
    frame = rows * columns * int(config.vision_config.hidden_size) * each
    needed = 0
    for medium in media:
        kind = kind_of(medium)
        if PICTURES in settings and kind != "audio":
            frames = getattr(medium, "num_frames", None) or int(config.num_frames)
            needed += frame * (frames if kind == "video" else 1)
        if SOUND in settings and kind != "image" and getattr(medium, "sound", None) is not False:
            audio = config.audio_config
            tokens = num_audio_tokens(audio, audio.max_fbank_frames)
            needed += tokens * int(audio.hidden_size) * each
    free = shutil.disk_usage(folder).free
    estimated(needed, free)
    if needed > free:
        raise FeatureError(
            f"the features of {len(media)} media take up to {needed / 2**30:.1f} GiB, and "
            f"{folder} has {free / 2**30:.1f} GiB: take another folder, or fewer records"
        )


def _is_half(model: Any) -> bool:
    return next(model.model.vision_tower.parameters()).dtype != torch.float32


def _encode(
    model: Any, loaded: LoadedMedia, settings: dict[str, Any], recipe: Recipe
) -> dict[str, Tensor]:
    """What the encoders make of one medium, as they would within a step."""
    parts: dict[str, Tensor] = {}
    with torch.no_grad(), _as_in_training(model, recipe):
        if PICTURES in settings and loaded.pixels is not None:
            frames = loaded.pixels[None] if loaded.kind == "image" else loaded.pixels
            parts[PICTURES] = model.model.encode_frames(frames[None])[0]
        if SOUND in settings and loaded.features is not None:
            parameter = next(model.model.audio_tower.parameters())
            parts[SOUND] = model.model.audio_tower(loaded.features[None].to(parameter.device))[0]
    return parts


@contextmanager
def _as_in_training(model: Any, recipe: Recipe) -> Generator[None]:
    device = next(model.parameters()).device.type
    with torch.autocast(device, torch.bfloat16, enabled=uses_bfloat16(recipe)):
        yield


def _wide(tensor: Tensor, width: Width) -> Tensor:
    tensor = tensor if width == "auto" else tensor.to(getattr(torch, width))
    return tensor.detach().cpu()


def _throughput(
    recipe: Recipe, lists: Lists, model: Any, processor: Any, store: FeatureStore
) -> tuple[float, float] | None:
    """Samples a second from disk to gradients, without and with the features."""
    encoder = ChatEncoder(processor, system_text=recipe.data.system_text)
    zeros_for_what_is_left_out(model)
    measured: list[float] = []
    for features in (None, store):
        makers = [
            RowMaker(
                processor, encoder, file.labels or recipe.data.labels,
                recipe.data.max_text_tokens, recipe.data.max_tokens, features,
            )
            for file in recipe.data.files
        ]  # fmt: skip
        _timed(recipe, lists, model, makers, 1)  # the first batch pays for what is lazy
        measured.append(_timed(recipe, lists, model, makers, _BATCHES))
    return None if min(measured) == 0 else (measured[0], measured[1])


def _timed(
    recipe: Recipe, lists: Lists, model: Any, makers: Sequence[RowMaker], batches: int
) -> float:
    size = recipe.batch.per_device
    collate = Collator(pad_id_of(makers[0].processor.tokenizer))
    model.train()
    rest_frozen_encoders(model)
    device = next(model.parameters()).device
    began, done = time.perf_counter(), 0
    for rows in _batches(lists, makers, size, batches):
        batch = collate(rows)
        del batch[SKIPPED]
        moved = {name: _moved(value, device) for name, value in batch.items()}
        with _as_in_training(model, recipe):
            loss = model(**moved, use_cache=False).loss
        loss.backward()
        done += len(rows)
    if device.type == "cuda":
        torch.cuda.synchronize()
    model.zero_grad(set_to_none=True)
    model.eval()
    return done / (time.perf_counter() - began)


def _batches(
    lists: Lists, makers: Sequence[RowMaker], size: int, batches: int
) -> Generator[list[Row]]:
    rows: list[Row] = []
    for position in islice(range(lists.mixture.epoch_length), size * batches):
        chosen, place = lists.mixture.at(position)
        try:
            rows.append(makers[chosen].make(lists.lists[chosen][place]))
        except (MediaError, RecordError):  # training counts them
            continue
        if len(rows) == size:
            yield rows
            rows = []
    if rows:
        yield rows


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, list):
        return [_moved(one, device) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return value.to(device) if isinstance(value, Tensor) else value
