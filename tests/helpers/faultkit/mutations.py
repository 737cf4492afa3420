"""Ways to break a file: some know its parts, some do not. The same number, the same file."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .seeds import Seed
from .spans import Span, repaired, spans_of

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
LARGEST = 400_000


@dataclass(frozen=True)
class Mutant:
    """A broken file: of which seed, by what, and its bytes."""

    number: int
    seed: Seed
    ways: tuple[str, ...]
    data: bytes


def mutant(seeds: Sequence[Seed], number: int, run: int = 7) -> Mutant:
    """File `number` of a run."""
    choose = random.Random(f"{run}:{number}")
    seed = seeds[number % len(seeds)]
    data, ways = seed.data, list[str]()
    for _ in range(choose.choice((1, 1, 1, 2, 4))):
        known = spans_of(data)
        table = IN_PARTS if known and choose.random() < 0.7 else AT_RANDOM
        way = choose.choice(table)
        data = way(data, known, choose, seeds)[:LARGEST]
        ways.append(way.__name__)
    if choose.random() < 0.6:
        data = repaired(data)
    return Mutant(number, seed, tuple(ways), data)


Way = Callable[[bytes, list[Span], random.Random, Sequence[Seed]], bytes]


def _number(choose: random.Random, size: int) -> bytes:
    value = choose.choice((*EXTREMES, choose.getrandbits(8 * size)))
    return (value & ((1 << 8 * size) - 1)).to_bytes(size, choose.choice(("big", "little")))


def _replaced(
    data: bytes, spans: list[Span], first: int, last: int, new: bytes, choose: random.Random
) -> bytes:
    """Put `new` in place of a stretch; mostly, the sizes around it are made to fit."""
    changed = bytearray(data[:first] + new + data[last:])
    if choose.random() < 0.7:
        for span in spans:
            if span.size_at >= 0 and span.body <= first and last <= span.end:
                width = struct.calcsize(span.size_format)
                if span.size_at + width <= first:
                    field = data[span.size_at : span.size_at + width]
                    size = struct.unpack(span.size_format, field)[0] + len(new) - (last - first)
                    size &= (1 << 8 * width) - 1
                    field = struct.pack(span.size_format, size)
                    changed[span.size_at : span.size_at + width] = field
    return bytes(changed)


# --- that know the parts ---


def wrong_size(data: bytes, spans: list[Span], choose: random.Random, _: Sequence[Seed]) -> bytes:
    span = choose.choice(spans)
    at = span.size_at if span.size_at >= 0 else max(span.body - 1, 0)
    width = struct.calcsize(span.size_format) if span.size_at >= 0 else 1
    return data[:at] + _number(choose, width) + data[at + width :]


def wrong_field(data: bytes, spans: list[Span], choose: random.Random, _: Sequence[Seed]) -> bytes:
    """An extreme number near a part's beginning, where widths, counts and lengths are."""
    span = choose.choice(spans)
    width = choose.choice((1, 2, 4, 8))
    at = min(span.start + choose.randrange(64), max(span.end - width, span.start))
    return data[:at] + _number(choose, width) + data[at + width :]


def gone(data: bytes, spans: list[Span], choose: random.Random, _: Sequence[Seed]) -> bytes:
    span = choose.choice(spans)
    return _replaced(data, spans, span.start, span.end, b"", choose)


def twice(data: bytes, spans: list[Span], choose: random.Random, _: Sequence[Seed]) -> bytes:
    span = choose.choice(spans)
    part = data[span.start : span.end]
    times = choose.choice((1, 1, 3, 50))
    return _replaced(data, spans, span.end, span.end, (part * times)[:LARGEST], choose)


def swapped(data: bytes, spans: list[Span], choose: random.Random, _: Sequence[Seed]) -> bytes:
    first, second = sorted((choose.choice(spans), choose.choice(spans)), key=lambda s: s.start)
    if first.end > second.start:
        return data
    return b"".join(
        (
            data[: first.start], data[second.start : second.end], data[first.end : second.start],
            data[first.start : first.end], data[second.end :],
        )
    )  # fmt: skip


def inside(data: bytes, spans: list[Span], choose: random.Random, _: Sequence[Seed]) -> bytes:
    """A part within itself, many times."""
    span = choose.choice(spans)
    part = data[span.start : span.body]
    depth = choose.choice((1, 10, 1000))
    return _replaced(data, spans, span.body, span.body, part * depth, choose)


def shortened(data: bytes, spans: list[Span], choose: random.Random, _: Sequence[Seed]) -> bytes:
    span = choose.choice(spans)
    first = choose.randint(span.body, max(span.end, span.body))
    return _replaced(data, spans, first, max(span.end, first), b"", choose)


def renamed(data: bytes, spans: list[Span], choose: random.Random, seeds: Sequence[Seed]) -> bytes:
    """Another part's header."""
    span, other = choose.choice(spans), choose.choice(spans)
    return data[: span.start] + data[other.start : other.body] + data[span.body :]


def transplanted(
    data: bytes, spans: list[Span], choose: random.Random, seeds: Sequence[Seed]
) -> bytes:
    """A part of another file."""
    donor = choose.choice(seeds).data
    span, other = choose.choice(spans), choose.choice(spans_of(donor) or [Span(0, 0, len(donor))])
    return _replaced(data, spans, span.start, span.end, donor[other.start : other.end], choose)


# --- that do not ---


def flipped(data: bytes, _: list[Span], choose: random.Random, __: Sequence[Seed]) -> bytes:
    changed = bytearray(data)
    for _ in range(choose.choice((1, 1, 4, 32))):
        if changed:
            changed[choose.randrange(len(changed))] ^= 1 << choose.randrange(8)
    return bytes(changed)


def cut(data: bytes, _: list[Span], choose: random.Random, __: Sequence[Seed]) -> bytes:
    return data[: choose.randrange(1, len(data) + 1)] if data else data


def erased(data: bytes, _: list[Span], choose: random.Random, __: Sequence[Seed]) -> bytes:
    at, length = choose.randrange(len(data) + 1), choose.choice((4, 64, 1024))
    return data[:at] + bytes(len(data[at : at + length])) + data[at + length :]


def scrambled(data: bytes, _: list[Span], choose: random.Random, __: Sequence[Seed]) -> bytes:
    at, length = choose.randrange(len(data) + 1), choose.choice((4, 64, 1024))
    return data[:at] + choose.randbytes(len(data[at : at + length])) + data[at + length :]


def inserted(data: bytes, _: list[Span], choose: random.Random, __: Sequence[Seed]) -> bytes:
    at = choose.randrange(len(data) + 1)
    return data[:at] + choose.randbytes(choose.choice((1, 7, 200))) + data[at:]


def repeated(data: bytes, _: list[Span], choose: random.Random, __: Sequence[Seed]) -> bytes:
    at, length = choose.randrange(len(data) + 1), choose.choice((16, 512))
    return data[:at] + data[at : at + length] * choose.choice((2, 40)) + data[at + length :]


def spliced(data: bytes, _: list[Span], choose: random.Random, seeds: Sequence[Seed]) -> bytes:
    other = choose.choice(seeds).data
    return data[: choose.randrange(len(data) + 1)] + other[choose.randrange(len(other)) :]


def overwritten(data: bytes, _: list[Span], choose: random.Random, __: Sequence[Seed]) -> bytes:
    width = choose.choice((1, 2, 4))
    at = choose.randrange(max(len(data) - width, 1))
    return data[:at] + _number(choose, width) + data[at + width :]


IN_PARTS: tuple[Way, ...] = (
    wrong_size, wrong_field, wrong_field, wrong_field, gone, twice, swapped, inside, shortened,
    renamed, transplanted,
)  # fmt: skip
AT_RANDOM: tuple[Way, ...] = (
    flipped, flipped, cut, erased, scrambled, inserted, repeated, spliced, overwritten,
)  # fmt: skip
