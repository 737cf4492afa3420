"""Names of sounds: AudioSet's classes, in the order that BEATs' tag heads have them in.

The order is the `label_dict` of Microsoft's fine-tuned files, the same in all of them
(https://github.com/microsoft/unilm/issues/1012), and differs from that of AudioSet's own list.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def classes() -> tuple[tuple[str, str], ...]:
    """AudioSet's id and display name of every class, by its place in BEATs' head."""
    text = files(__package__ or "").joinpath("audioset.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return tuple((mid, name) for mid, name in rows)


def beats_names() -> dict[int, str]:
    """Class -> name of a head as in the fine-tuned BEATs files."""
    return {index: name for index, (_, name) in enumerate(classes())}


def names_of(labels: Mapping[Any, Any]) -> dict[int, str]:
    """Class -> name by a file's own `label_dict`; what is no class of AudioSet's stays as it is.

    Raises:
        TypeError: it does not number words.
        ValueError: it does not number words.
    """
    known = dict(classes())
    names: dict[int, str] = {}
    for index, label in labels.items():
        if not isinstance(label, str):
            raise TypeError("a label is no word")
        names[int(index)] = known.get(label, label)
    return names
