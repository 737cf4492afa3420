"""Every benchmark there is: each file in `tasks/` that defines one is found."""

from __future__ import annotations

import pkgutil
from difflib import get_close_matches
from functools import cache
from importlib import import_module

from videollama2.evaluation import tasks
from videollama2.evaluation.task import Task


@cache
def all_tasks() -> dict[str, Task]:
    """Name -> benchmark, by name."""
    found: dict[str, Task] = {}
    for module in pkgutil.iter_modules(tasks.__path__, f"{tasks.__name__}."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, Task):
                found[value.name] = value
    return dict(sorted(found.items()))


def find(name: str) -> Task:
    """The benchmark of this name, however it is spelled as to case, spaces and hyphens.

    Raises:
        ValueError: there is none.
    """
    known = all_tasks()
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    if plain in known:
        return known[plain]
    close = get_close_matches(plain, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else "--list names them all"
    raise ValueError(f"there is no benchmark {name!r}. {hint}")
