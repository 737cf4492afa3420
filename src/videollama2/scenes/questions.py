"""Scene -> questions with answers: twenty closed kinds, a list, a description, one unanswerable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .names import NUMBERS, QUARTERS
from .phrasing import article, listed, word_question
from .scene import Scene, Shown
from .world import World

ORDER_MARGIN_S = 0.7


@dataclass(frozen=True)
class Question:
    """A question about a scene: its kind, wording, only right answer, and template's id."""

    kind: str
    text: str
    answer: str
    template: str


@dataclass(frozen=True)
class _Asked:
    answer: str
    slots: dict[str, str]
    worded_as: str = ""  # another kind, whose wordings these are


_Maker = Callable[[Scene, World, np.random.Generator], "_Asked | None"]


def ask(
    scene: Scene,
    world: World,
    rng: np.random.Generator,
    count: int = 8,
    split: str = "train",
    eagerness: Mapping[str, float] | None = None,
) -> list[Question]:
    """At most `count` questions, each of another kind, all with one right answer in this scene.

    Kinds that few scenes allow come first more often, so that all kinds are asked about as often.
    `split` chooses the templates: those to train on, or those held out. `eagerness` makes kinds
    come more (above 1) or less often than that.

    Raises:
        ValueError: there is no such split.
    """
    asked: list[Question] = []
    extra = eagerness or {}
    keys = {
        kind: float(rng.random()) ** (1 / (weight * extra.get(kind, 1.0)))
        for kind, weight in _WEIGHTS.items()
    }
    for kind in sorted(_MAKERS, key=lambda kind: -keys[kind]):
        if len(asked) == count:
            break
        made = _MAKERS[kind](scene, world, rng)
        if made is not None:
            asked.append(_worded(kind, made, rng, split))
    return asked


def ask_often(
    scene: Scene,
    world: World,
    rng: np.random.Generator,
    kind: str,
    draws: int = 6,
    split: str = "train",
) -> list[Question]:
    """Questions of one kind about as many things of a scene as so many draws meet.

    Raises:
        ValueError: there is no such split.
    """
    asked: dict[tuple[str, ...], Question] = {}
    for _ in range(draws):
        made = _MAKERS[kind](scene, world, rng)
        if made is None or (about := (made.answer, *made.slots.values())) in asked:
            continue
        asked[about] = _worded(kind, made, rng, split)
    return list(asked.values())


def _worded(kind: str, made: _Asked, rng: np.random.Generator, split: str) -> Question:
    wording = made.worded_as or kind
    text, template = word_question(wording, made.slots, rng, split, ending=kind not in OPEN_KINDS)
    return Question(kind, text, made.answer, template)


def _choose(rng: np.random.Generator, of: list[str]) -> str:
    return of[int(rng.integers(len(of)))]


def _chance(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


def _ordered(scene: Scene) -> bool:
    return scene.sequential and len(scene.things) > 1


def _two_sounds(scene: Scene) -> bool:
    sounds = scene.sounds
    return len(sounds) == 2 and sounds[1].onset_s - sounds[0].onset_s >= ORDER_MARGIN_S


def _seen(scene: Scene) -> list[str]:
    return [thing.name for thing in scene.things]


def _heard(scene: Scene) -> list[str]:
    return [sound.name for sound in scene.sounds]


def _sounding(scene: Scene, world: World) -> list[str]:
    return [name for name in _seen(scene) if name in world.sound_index]


def _first_thing(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    return _Asked(scene.things[0].name, {}) if _ordered(scene) else None


def _last_thing(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    return _Asked(scene.things[-1].name, {}) if _ordered(scene) else None


def _pair(names: list[str], rng: np.random.Generator) -> dict[str, str]:
    x, y = names if _chance(rng, 0.5) else names[::-1]
    return {"x": x, "y": y}


def _which_first(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    if not _ordered(scene):
        return None
    earlier, later = sorted(int(i) for i in rng.choice(len(scene.things), 2, replace=False))
    names = _seen(scene)
    return _Asked(names[earlier], _pair([names[earlier], names[later]], rng))


def _next_thing(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    if not _ordered(scene):
        return None
    at = int(rng.integers(len(scene.things) - 1))
    names = _seen(scene)
    return _Asked(names[at + 1], {"x": names[at]})


def _count_things(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    return _Asked(NUMBERS[len(scene.things)], {})


def _background(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    return _Asked(scene.background, {})


def _plated(scene: Scene, rng: np.random.Generator) -> Shown | None:
    plated = [thing for thing in scene.things if thing.plate is not None]
    return plated[int(rng.integers(len(plated)))] if plated else None


def _plate_colour(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    thing = _plated(scene, rng)
    return _Asked(str(thing.plate), {"x": thing.name}) if thing else None


def _thing_on_plate(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    thing = _plated(scene, rng)
    return _Asked(thing.name, {"colour": str(thing.plate)}) if thing else None


def _named(name: str) -> dict[str, str]:
    return {"x": name, "an_x": article(name)}


def _is_there(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    """Of things that are heard, as of those that are not, half are in the picture."""
    seen, heard = _seen(scene), _heard(scene)
    if heard and _sounding(scene, world) and _chance(rng, 0.35):
        name = _choose(rng, heard)
        if name not in seen and not _chance(rng, 0.72):
            return None
        return _Asked("yes" if name in seen else "no", _named(name))
    answer = _chance(rng, 0.5)
    names = [name for name in world.names if (name in seen) == answer and name not in heard]
    if not names:
        return None
    # hard negatives: every second absent thing is one that could sound
    if not answer and _chance(rng, 0.25):
        names = [name for name in names if name in world.sound_index] or names
    return _Asked("yes" if answer else "no", _named(_choose(rng, names)))


def _choice(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    """One of four is shown; a thing that is only heard is among the four where there is one."""
    seen = _seen(scene)
    answer = _choose(rng, seen)
    absent = [name for name in world.names if name not in seen]
    others = [absent[int(i)] for i in rng.choice(len(absent), 3, replace=False)]
    unseen = [name for name in _heard(scene) if name not in seen and name not in others]
    others[: len(unseen)] = unseen
    options = [answer, *others]
    options = [options[int(i)] for i in rng.permutation(4)]
    return _Asked(answer, {"options": listed(options, "or")})


def _movement(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    moving = [thing for thing in scene.things if thing.movement != "still"]
    still = [thing for thing in scene.things if thing.movement == "still"]
    if moving and (not still or _chance(rng, 0.85)):
        of = moving
    elif _chance(rng, 0.35 if moving else 0.13):
        of = still
    else:
        return None
    thing = of[int(rng.integers(len(of)))]
    return _Asked(thing.movement, {"x": thing.name})


def _place(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    still = [thing for thing in scene.things if thing.movement == "still"]
    if not still:
        return None
    thing = still[int(rng.integers(len(still)))]
    return _Asked(thing.quarter, {"x": thing.name})


def _what_is_heard(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    heard = _heard(scene)
    if len(heard) > 1 or (not heard and not _chance(rng, 0.15)):
        return None
    return _Asked(heard[0] if heard else "nothing", {})


def _count_sounds(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    return _Asked(NUMBERS[len(scene.sounds)], {})


def _is_heard(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    """Of sounding things in the picture, as of those that are not, half are heard."""
    seen, heard = _seen(scene), _heard(scene)
    sounding = _sounding(scene, world)
    if not heard:
        return None
    if sounding and _chance(rng, 0.55):
        name = _choose(rng, sounding)
        if name not in heard and not _chance(rng, 0.55):
            return None
        return _Asked("yes" if name in heard else "no", _named(name))
    answer = _chance(rng, 0.5)
    names = [name for name in world.sounding if (name in heard) == answer and name not in seen]
    if not names:
        return None
    return _Asked("yes" if answer else "no", _named(_choose(rng, names)))


def _which_sound_first(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    if not _two_sounds(scene):
        return None
    heard = _heard(scene)
    return _Asked(heard[0], _pair(heard, rng))


def _last_sound(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    return _Asked(scene.sounds[1].name, {}) if _two_sounds(scene) else None


def _who_sounds(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    """Asked only where a sounding thing is in the picture and at most one of them is heard."""
    heard, sounding = _heard(scene), _sounding(scene, world)
    sources = [name for name in sounding if name in heard]
    if not heard or not sounding or len(sources) > 1:
        return None
    return _Asked(sources[0] if sources else "none", {})


def _source_visible(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    heard, sounding = _heard(scene), _sounding(scene, world)
    if len(heard) != 1 or not sounding:
        return None
    return _Asked("yes" if heard[0] in sounding else "no", {})


def _before_after(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    if scene.focus is None or len(scene.sounds) != 1:
        return None
    appears = next(thing.start_s for thing in scene.things if thing.name == scene.focus)
    onset = scene.sounds[0].onset_s
    if abs(onset - appears) < ORDER_MARGIN_S:
        return None
    return _Asked("before" if onset < appears else "after", {"x": scene.focus})


def _not_there(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    """Where, which way, on which plate is a thing that is not shown; at times it is heard."""
    seen, heard = _seen(scene), [name for name in _heard(scene) if name not in _seen(scene)]
    absent = heard if heard and _chance(rng, 0.25) else [n for n in world.names if n not in seen]
    if not absent:
        return None
    name = _choose(rng, absent)
    return _Asked(f"there is no {name}", {"x": name}, _choose(rng, list(_PRESUMING)))


def _list_things(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    return _Asked(", ".join(in_order(scene)), {})


def _describe(scene: Scene, world: World, rng: np.random.Generator) -> _Asked | None:
    return _Asked(describe(scene), {})


def in_order(scene: Scene) -> list[str]:
    """Things as they appear; those that appear together from the top left to the bottom right."""
    by = sorted(scene.things, key=lambda thing: (thing.start_s, QUARTERS.index(thing.quarter)))
    return [thing.name for thing in by]


def describe(scene: Scene) -> str:
    """A scene in one sentence: things and sounds in order, and the background."""
    things = listed([article(name) for name in in_order(scene)], "and")
    heard = [article(name) for name in _heard(scene)]
    sounds = f"{listed(heard, 'and') or 'nothing'} {'are' if len(heard) > 1 else 'is'} heard"
    return f"{things} on {article(scene.background)} background, and {sounds}"


_MAKERS: dict[str, _Maker] = {
    "first_thing": _first_thing,
    "last_thing": _last_thing,
    "which_first": _which_first,
    "next_thing": _next_thing,
    "count_things": _count_things,
    "background": _background,
    "plate_colour": _plate_colour,
    "thing_on_plate": _thing_on_plate,
    "is_there": _is_there,
    "choice": _choice,
    "movement": _movement,
    "place": _place,
    "heard": _what_is_heard,
    "count_sounds": _count_sounds,
    "is_heard": _is_heard,
    "which_sound_first": _which_sound_first,
    "last_sound": _last_sound,
    "who_sounds": _who_sounds,
    "source_visible": _source_visible,
    "before_after": _before_after,
    "list_things": _list_things,
    "describe": _describe,
    "not_there": _not_there,
}
# Kinds whose wordings take it for granted that a thing is shown.
_PRESUMING = ("place", "movement", "plate_colour")
KINDS: tuple[str, ...] = tuple(_MAKERS)
OPEN_KINDS: tuple[str, ...] = ("list_things", "describe")
UNANSWERABLE_KINDS: tuple[str, ...] = ("not_there",)
NOT_CLOSED_KINDS: tuple[str, ...] = (*OPEN_KINDS, *UNANSWERABLE_KINDS)
CLOSED_KINDS: tuple[str, ...] = tuple(kind for kind in KINDS if kind not in NOT_CLOSED_KINDS)
# How eagerly a kind is asked: higher where fewer scenes allow it.
_WEIGHTS: dict[str, float] = dict.fromkeys(_MAKERS, 1.0) | {
    "first_thing": 2.5,
    "last_thing": 2.5,
    "which_first": 2.7,
    "next_thing": 2.7,
    "plate_colour": 1.3,
    "thing_on_plate": 1.3,
    "movement": 2.0,
    "place": 1.7,
    "heard": 2.0,
    "is_heard": 1.7,
    "which_sound_first": 3.0,
    "last_sound": 3.0,
    "who_sounds": 2.2,
    "source_visible": 4.0,
    "before_after": 8.0,
}
