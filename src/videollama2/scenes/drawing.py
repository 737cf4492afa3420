"""Draws scenes at random, so that no single stream and no commonest answer gives an answer away.

Three kinds of scene: *plain* ones; *source* ones, which always show sounding things, so that ear
and eye are both needed to tell who sounds; *order* ones, in which the answer to "is the sound
heard before or after the thing appears" is drawn first, then appearance and onset to fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .names import COLOURS
from .scene import Heard, Scene, Shown
from .staging import draw_staging
from .world import CLIP_SECONDS, NOTES_PER_SOUND, World

KINDS = ("plain", "source", "order")
_KIND_WEIGHTS = (0.48, 0.32, 0.20)
_COUNT_WEIGHTS = (0.22, 0.28, 0.28, 0.22)
_SOUND_WEIGHTS = {
    "plain": (0.52, 0.06, 0.42),
    "source": (0.0, 0.58, 0.42),
    "order": (0.0, 1.0, 0.0),
}
_BOUNDARIES = (0, 1, 2, 3)
_LATEST_ONSET_S = 3.0
_MARGIN_S = 0.7
_PIXEL = 1 / 96

# Appearance, earliest and latest onset. Over these six cells, equally often, appearance alone and
# onset alone each give 2/3 of the answers: no other choice of cells on this grid gives less.
_ORDER_CELLS: tuple[tuple[int, float, float], ...] = (
    (0, 0.7, 1.3),
    (1, 1.7, 2.3),
    (2, 2.7, 3.0),
    (1, 0.0, 0.3),
    (2, 0.7, 1.3),
    (3, 1.7, 2.3),
)


@dataclass(frozen=True)
class _Span:
    start: int
    end: int


def draw_scene(world: World, rng: np.random.Generator, kind: str | None = None) -> Scene:
    """A random scene; `kind` is one of `KINDS`, drawn where it is None.

    Raises:
        ValueError: there is no such kind.
    """
    if kind is None:
        kind = _choose(rng, KINDS, _KIND_WEIGHTS)
    elif kind not in KINDS:
        raise ValueError(f"scene kind {kind!r} is none of {', '.join(KINDS)}")
    count = 1 + int(rng.choice(4, p=_COUNT_WEIGHTS))
    cell = _ORDER_CELLS[int(rng.integers(len(_ORDER_CELLS)))] if kind == "order" else None
    sequential = cell is not None or bool(rng.random() < 0.42)
    spans = _spans(rng, count, sequential, cell)
    names = _names(world, rng, len(spans), kind)
    background = _choose(rng, tuple(COLOURS))
    things = _things(rng, names, spans, background)
    focus = None
    if cell is not None:
        focus = next(thing.name for thing in things if thing.start_s == cell[0])
    visible = tuple(name for name in names if name in world.sound_index)
    heard = _sound_names(world, rng, visible, int(rng.choice(3, p=_SOUND_WEIGHTS[kind])))
    return Scene(
        background=background,
        texture=int(rng.integers(24)),
        texture_depth=float(rng.uniform(0.04, 0.16)),
        things=things,
        sequential=sequential,
        focus=focus,
        sounds=_sounds(rng, heard, cell),
        brightness=float(rng.uniform(-0.05, 0.05)),
        contrast=float(rng.uniform(0.88, 1.1)),
        grain=float(rng.uniform(0.0, 0.022)),
        hiss=float(10 ** rng.uniform(-3.5, -1.9)),
        loudness=float(10 ** rng.uniform(-0.5, 0.1)),
        noise_seed=int(rng.integers(2**31)),
        # from a stream of its own: scenes and their questions stay as they were without it
        staging=draw_staging(rng.spawn(1)[0]),
    )


def _choose(
    rng: np.random.Generator, of: tuple[str, ...], p: tuple[float, ...] | None = None
) -> str:
    return of[int(rng.choice(len(of), p=p))]


def _sample(rng: np.random.Generator, of: tuple[str, ...], count: int) -> list[str]:
    return [of[int(i)] for i in rng.choice(len(of), count, replace=False)]


def _spans(
    rng: np.random.Generator,
    count: int,
    sequential: bool,
    cell: tuple[int, float, float] | None,
) -> list[_Span]:
    """When each thing is visible, in order of appearance."""
    if not sequential:
        return [_Span(0, 4)] * count
    others = [start for start in _BOUNDARIES if cell is None or start != cell[0]]
    free = count if cell is None else count - 1
    starts = {int(start) for start in rng.choice(others, free, replace=False)}
    if cell is not None:
        starts.add(cell[0])
    order = sorted(starts)
    gives_way = bool(rng.random() < 0.55)
    ends = [*order[1:], 4] if gives_way else [4] * count
    return [_Span(start, end) for start, end in zip(order, ends, strict=True)]


def _names(world: World, rng: np.random.Generator, count: int, kind: str) -> list[str]:
    """Which things are shown: how many of them could sound depends on the kind of scene."""
    if kind == "source":
        sounding = min(1 + int(rng.choice(3, p=(0.35, 0.45, 0.20))), count)
    else:
        sounding = int(rng.binomial(count, 0.3))
    silent = _sample(rng, world.silent, min(count - sounding, len(world.silent)))
    names = silent + _sample(rng, world.sounding, count - len(silent))
    return [names[int(i)] for i in rng.permutation(count)]


def _sound_names(
    world: World, rng: np.random.Generator, visible: tuple[str, ...], count: int
) -> list[str]:
    """Which sounds are heard, so that neither stream alone tells whether a visible thing sounds.

    One sound: its thing is visible in half of the scenes. Two: one of the two things is visible in
    half of the scenes with one sounding thing in the picture, in two thirds of those with more;
    now and then both are.
    """
    invisible = tuple(name for name in world.sounding if name not in visible)
    if not count or not visible:
        return _sample(rng, invisible, count)
    if count == 1:
        return _sample(rng, visible if rng.random() < 0.5 else invisible, 1)
    if len(visible) > 1 and rng.random() < 0.15:
        return _sample(rng, visible, 2)
    seen = int(rng.random() < (0.5 if len(visible) == 1 else 2 / 3))
    heard = _sample(rng, visible, seen) + _sample(rng, invisible, 2 - seen)
    return heard[::-1] if rng.random() < 0.5 else heard


def _sounds(
    rng: np.random.Generator, names: list[str], cell: tuple[int, float, float] | None
) -> tuple[Heard, ...]:
    if len(names) == 2 and rng.random() < 0.85:
        first = float(rng.uniform(0, _LATEST_ONSET_S - _MARGIN_S))
        onsets = [first, float(rng.uniform(first + _MARGIN_S, _LATEST_ONSET_S))]
    elif cell is not None:
        onsets = [float(rng.uniform(cell[1], cell[2])) for _ in names]
    else:
        onsets = sorted(float(rng.uniform(0, _LATEST_ONSET_S)) for _ in names)
    sounds: list[Heard] = []
    for name, onset in zip(names, onsets, strict=True):
        duration = min(float(rng.uniform(0.8, 1.6)), CLIP_SECONDS - onset)
        notes = rng.integers(NOTES_PER_SOUND, size=2 + int(rng.integers(3)))
        gain = float(rng.uniform(0.55, 1.0))
        sounds.append(Heard(name, onset, duration, tuple(int(note) for note in notes), gain))
    return tuple(sounds)


def _things(
    rng: np.random.Generator, names: list[str], spans: list[_Span], background: str
) -> tuple[Shown, ...]:
    plates = _sample(rng, tuple(c for c in COLOURS if c != background), len(names))
    layout = _layout(rng, spans)
    largest = 36 if _crowd(spans) <= 2 else 32
    things: list[Shown] = []
    for name, span, plate, (quarter, movement) in zip(names, spans, plates, layout, strict=True):
        size = float(rng.uniform(28, largest)) * _PIXEL
        on_plate = bool(rng.random() < 0.5)
        reach = size * (0.625 if on_plate else 0.5)
        distance = 0.0 if movement == "still" else float(rng.uniform(35, 44)) * _PIXEL
        x = _start(rng, quarter % 2, reach, distance, {"left": -1, "right": 1}.get(movement, 0))
        y = _start(rng, quarter // 2, reach, distance, {"up": -1, "down": 1}.get(movement, 0))
        shape = "disc" if rng.random() < 0.5 else "square"
        things.append(
            Shown(
                name, x, y, size, movement, distance, float(span.start), float(span.end),
                plate if on_plate else None, shape,
            )
        )  # fmt: skip
    return tuple(things)


def _start(
    rng: np.random.Generator, half: int, reach: float, distance: float, direction: int
) -> float:
    """First coordinate of a centre in the lower (0) or upper (1) half of an axis."""
    if direction == 0:
        return 0.25 + 0.5 * half + float(rng.uniform(-3, 3)) * _PIXEL
    from_edge = float(rng.uniform(reach, min(1 - reach - distance, 0.48)))
    return from_edge if direction > 0 else 1 - from_edge


def _crowd(spans: list[_Span]) -> int:
    return max(sum(span.start <= time < span.end for span in spans) for time in range(4))


def _layout(rng: np.random.Generator, spans: list[_Span]) -> list[tuple[int, str]]:
    """A quarter and a movement for each thing, such that things seen together do not collide.

    What stands needs its quarter; what moves needs its whole row or column.
    """
    crowd = _crowd(spans)
    still = {1: 0.3, 2: 0.45, 3: 0.75}.get(crowd, 1.0)
    for _ in range(64):
        layout = [_place(rng, still) for _ in spans]
        if all(
            _lane(*layout[i]).isdisjoint(_lane(*layout[j]))
            for i in range(len(spans))
            for j in range(i)
            if spans[i].start < spans[j].end and spans[j].start < spans[i].end
        ):
            return layout
    return [(int(quarter), "still") for quarter in rng.permutation(4)[: len(spans)]]


def _place(rng: np.random.Generator, still: float) -> tuple[int, str]:
    if rng.random() < still:
        return int(rng.integers(4)), "still"
    movement = _choose(rng, ("left", "right", "up", "down"))
    other = int(rng.integers(2))
    quarter = {"right": 2 * other, "left": 2 * other + 1, "down": other, "up": 2 + other}[movement]
    return quarter, movement


def _lane(quarter: int, movement: str) -> set[int]:
    if movement == "still":
        return {quarter}
    if movement in ("left", "right"):
        return {quarter // 2 * 2, quarter // 2 * 2 + 1}
    return {quarter % 2, quarter % 2 + 2}
