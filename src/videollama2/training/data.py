"""A recipe's lists of records, read and checked before anything heavy begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.training.errors import RecordError, RecordsError, TrainingError
from videollama2.training.labels import check_form
from videollama2.training.mixture import Mixture
from videollama2.training.recipe import DataFile, DataSection, Recipe
from videollama2.training.records import (
    ReadOptions,
    Record,
    absent_files,
    iterate_records,
    iterate_values,
    read_records,
)
from videollama2.training.shard_index import names_shards
from videollama2.training.shard_store import ShardStore, default_cache
from videollama2.training.shards import ShardList


@dataclass(frozen=True)
class Lists:
    """Every list of records of a run, and their order."""

    lists: tuple[Sequence[Record], ...]
    mixture: Mixture

    def steps(self, recipe: Recipe) -> int:
        """Steps until the recipe's epochs are over; the last goes on into the next epoch's order
        where they do not divide.
        """
        return steps_for(recipe, self.mixture.epoch_length)


def iterate_list(file: DataFile, data: DataSection | None = None) -> Iterator[Record | RecordError]:
    """Every record of one list in its order, an error in the place of each that is wrong.

    `data` says where shards from elsewhere are kept, and whence they may come.
    """
    options = ReadOptions(Path(file.folder), file.sound)
    if not names_shards(file.path):
        yield from iterate_records(file.path, options)
        return
    try:
        store = shard_store(data or DataSection(), verify=True)
        yield from ShardList(store.index(file.path), options, store).iterate()
    except RecordError as error:
        yield error


def iterate_list_values(file: DataFile) -> Iterator[Any]:
    """Every record's JSON value as it is written, in the order of `iterate_list`."""
    if names_shards(file.path):
        raise TrainingError(f"{file.path}: records are written out of lists, not out of shards")
    return (value for _, value in iterate_values(file.path))


def expected_records(file: DataFile) -> int:
    """How many records a list has, where that is told at once; else 0."""
    if names_shards(file.path):
        return 0
    return sum(1 for _ in iterate_values(file.path))


def open_list(file: DataFile, data: DataSection) -> Sequence[Record]:
    """One list's records: read at once, or shards that are read as they are needed.

    Raises:
        RecordsError: the list, or records in it, are wrong; one line for each.
    """
    options = ReadOptions(Path(file.folder), file.sound)
    if not names_shards(file.path):
        return read_records(file.path, options)
    store = shard_store(data)
    try:
        return ShardList(store.index(file.path), options, store)
    except RecordError as error:
        raise RecordsError([error]) from error


def shard_store(data: DataSection, *, verify: bool = False) -> ShardStore:
    """Where a recipe's shards are read from."""
    cache = default_cache() if data.shard_cache is None else Path(data.shard_cache)
    return ShardStore(cache, data.allow_private_hosts, verify=verify)


def mixture_of(recipe: Recipe, lists: Sequence[Sequence[Record]]) -> Mixture:
    """The order in which a recipe's lists are read."""
    pieces = tuple(one.pieces if isinstance(one, ShardList) else None for one in lists)
    return Mixture(tuple(map(len, lists)), recipe.data.ratio, recipe.seed, pieces)


def steps_for(recipe: Recipe, epoch_length: int) -> int:
    """Steps of `batch.total` records for the recipe's epochs of so many records."""
    records = round(recipe.optimizer.epochs * epoch_length)
    return max(1, -(-records // recipe.batch.total))


def read_lists(recipe: Recipe, *, check_files: bool = True) -> Lists:
    """The recipe's lists.

    Raises:
        TrainingError: there are none, or records in them are wrong, or their files absent: one
            line each.
    """
    if not recipe.data.files:
        raise TrainingError("there is nothing to learn from: say data.files=records.json")
    lists: list[Sequence[Record]] = []
    errors: list[RecordError] = []
    for file in recipe.data.files:
        try:
            records = open_list(file, recipe.data)
        except RecordsError as error:
            errors += error.errors
            continue
        lists.append(records)
        if isinstance(records, ShardList):  # its records are looked at as they come
            errors += records.absent() if check_files else []
            continue
        errors += absent_files(records) if check_files else []
        for record in records:
            try:
                check_form(record, file.labels or recipe.data.labels)
            except RecordError as error:
                errors.append(error)
    if errors:
        raise RecordsError(errors)
    return Lists(tuple(lists), mixture_of(recipe, lists))
