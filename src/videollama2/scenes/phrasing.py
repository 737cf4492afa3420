"""Words for questions: openers, templates with choices of words, endings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product

import numpy as np

from .names import UNCOUNTED

SPLITS = ("train", "unseen")
_CHOICE = re.compile(r"\[([^\]]*)\]")
_LOWER_SHARE = 0.25


@dataclass(frozen=True)
class Phrasings:
    """The whole grammar: `templates[split][kind]` are the cores of questions."""

    openers: tuple[str, ...]
    endings: tuple[str, ...]
    templates: dict[str, dict[str, tuple[str, ...]]]


@cache
def phrasings() -> Phrasings:
    """The grammar that ships with the package."""
    text = files("videollama2.scenes").joinpath("data/phrasings.toml").read_text(encoding="utf-8")
    table: dict[str, dict[str, list[str]]] = tomllib.loads(text)
    frame = table.pop("frame")
    return Phrasings(
        openers=tuple(frame["openers"]),
        endings=tuple(frame["endings"]),
        templates={
            split: {kind: tuple(cores[split]) for kind, cores in table.items()} for split in SPLITS
        },
    )


def article(name: str) -> str:
    """The name with "a" or "an" before it, or nothing where it takes neither."""
    if name in UNCOUNTED:
        return name
    spoken = name.removeprefix("h") if name.startswith("hour") else name
    return f"{'an' if spoken[0] in 'aeiou' and not name.startswith('uni') else 'a'} {name}"


def listed(names: list[str], word: str) -> str:
    """Names in a row, the last two joined by `word`: "cat, dog or tree"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


def expansions(core: str) -> Iterator[str]:
    """Every wording of a template, its places for names still open."""
    parts = _CHOICE.split(core)
    for words in product(*(part.split("|") for part in parts[1::2])):
        yield "".join(text + word for text, word in zip(parts[::2], (*words, ""), strict=True))


def word_question(
    kind: str, slots: dict[str, str], rng: np.random.Generator, split: str, ending: bool
) -> tuple[str, str]:
    """One wording of a question, and the id of its template ("kind/split/number").

    `ending` allows a plea for a short answer after it.
    A quarter of the wordings is all in lower case and without its last mark, as people type.

    Raises:
        ValueError: there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
    grammar = phrasings()
    cores = grammar.templates[split][kind]
    number = int(rng.integers(len(cores)))
    opener = _pick(grammar.openers[int(rng.integers(len(grammar.openers)))], rng)
    plea = grammar.endings[int(rng.integers(len(grammar.endings)))] if ending else ""
    core = _pick(cores[number], rng).format(**slots)
    if core.startswith("tell me"):
        opener = ""
    text = sentence(opener, core, plea)
    if rng.random() < _LOWER_SHARE:
        text = text.lower().rstrip("?.")
    return text, f"{kind}/{split}/{number}"


def sentence(opener: str, core: str, ending: str) -> str:
    """Opener, core and ending with capitals where sentences begin."""
    text = f"{opener}{core}"
    text = re.sub(r"(?<=[.?] )[a-z]", lambda match: match[0].upper(), text)
    return f"{text[0].upper()}{text[1:]}{ending}"


def _pick(core: str, rng: np.random.Generator) -> str:
    def one(match: re.Match[str]) -> str:
        words = match[1].split("|")
        return words[int(rng.integers(len(words)))]

    return _CHOICE.sub(one, core)
