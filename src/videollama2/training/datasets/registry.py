"""Every data set there is: each file beside this one that defines one is found."""

from __future__ import annotations

import pkgutil
from difflib import get_close_matches
from functools import cache
from importlib import import_module

from videollama2.training import datasets
from videollama2.training.datasets.base import STAGES, DataSet


@cache
def data_sets() -> dict[str, DataSet]:
    """Name -> data set, by stage and name."""
    found: dict[str, DataSet] = {}
    for module in pkgutil.iter_modules(datasets.__path__, f"{datasets.__name__}."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, DataSet):
                found[value.name] = value
    ordered = sorted(found.values(), key=lambda one: (STAGES.index(one.stage), one.name))
    return {one.name: one for one in ordered}


def find(name: str) -> DataSet:
    """The data set of this name, however it is spelled as to case, spaces and underscores.

    Raises:
        ValueError: there is none.
    """
    known = data_sets()
    plain = name.strip().lower().replace("_", "-").replace(" ", "-")
    if plain in known:
        return known[plain]
    close = get_close_matches(plain, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else "--list names them all"
    raise ValueError(f"there is no data set {name!r}. {hint}")
