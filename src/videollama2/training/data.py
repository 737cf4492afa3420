"""A recipe's lists of records, read and checked before anything heavy begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.training.errors import RecordError, RecordsError, TrainingError
from videollama2.training.labels import check_form
from videollama2.training.mixture import Mixture
from videollama2.training.recipe import DataFile, Recipe
from videollama2.training.records import (
    ReadOptions,
    Record,
    absent_files,
    iterate_records,
    iterate_values,
    read_records,
)


@dataclass(frozen=True)
class Lists:
    """Every list of records of a run, and their order."""

    lists: tuple[tuple[Record, ...], ...]
    mixture: Mixture

    def steps(self, recipe: Recipe) -> int:
        """Steps until the recipe's epochs are over; the last goes on into the next epoch's order
        where they do not divide.
        """
        return steps_for(recipe, self.mixture.epoch_length)


def iterate_list(file: DataFile) -> Iterator[Record | RecordError]:
    """Every record of one list in its order, an error in the place of each that is wrong."""
    return iterate_records(file.path, ReadOptions(Path(file.folder), file.sound))


def iterate_list_values(file: DataFile) -> Iterator[Any]:
    """Every record's JSON value as it is written, in the order of `iterate_list`."""
    return (value for _, value in iterate_values(file.path))


def expected_records(file: DataFile) -> int:
    """How many records a list has, where that is told at once; else 0."""
    return sum(1 for _ in iterate_values(file.path))


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
    lists: list[tuple[Record, ...]] = []
    errors: list[RecordError] = []
    for file in recipe.data.files:
        try:
            records = read_records(file.path, ReadOptions(Path(file.folder), file.sound))
        except RecordsError as error:
            errors += error.errors
            continue
        lists.append(records)
        errors += absent_files(records) if check_files else []
        for record in records:
            try:
                check_form(record, file.labels or recipe.data.labels)
            except RecordError as error:
                errors.append(error)
    if errors:
        raise RecordsError(errors)
    sizes = tuple(len(records) for records in lists)
    return Lists(tuple(lists), Mixture(sizes, recipe.data.ratio, recipe.seed))
