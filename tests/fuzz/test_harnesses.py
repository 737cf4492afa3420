"""Every fuzzing harness runs, and its parser stands simple damage; `make fuzz` goes further."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from fuzzkit import HARNESSES, Harness

CHANGES = 60
ODD = (None, True, -1, 1e308, "", "x", "1e9", [], {}, [[]], [None], {"a": None}, 2**70)


@pytest.mark.parametrize("harness", HARNESSES.values(), ids=HARNESSES)
def test_a_parser_lets_nothing_out_but_its_own_errors(harness: Harness) -> None:
    for seed in (*harness.seeds(), b"", b"\0", b"\xff\xfe", b"[" * 100_000, b"9" * 5000):
        harness.run(seed)
    for seed in harness.seeds():
        for changed in changes_of(seed):
            try:
                harness.run(changed)
            except Exception as error:
                error.add_note(f"{harness.name} of {changed[:2000]!r}")
                raise


def changes_of(seed: bytes) -> Iterator[bytes]:
    choose = random.Random(len(seed))
    for _ in range(CHANGES):
        at, length = choose.randrange(len(seed)), choose.choice((1, 1, 4, 64))
        new = choose.choice((b"", choose.randbytes(length), b"\0" * length, b"\xff" * length))
        yield seed[:at] + new + seed[at + choose.choice((0, length)) :]
    try:
        value = json.loads(seed)
    except ValueError:
        return
    for place in list(places(value)):
        for odd in ODD:
            yield json.dumps(replaced(value, place, odd)).encode()


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a JSON value, from outside in."""
    yield before
    if isinstance(value, (dict, list)):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in inner:
            yield from places(part, (*before, key))


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    whole = copy.deepcopy(value)
    part = whole
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = new
    return whole
