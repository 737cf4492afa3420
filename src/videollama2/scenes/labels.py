"""Scene -> what is to be seen and heard in each slot of time, to teach encoders with."""

from __future__ import annotations

from dataclasses import dataclass

from .scene import Scene
from .world import CLIP_SECONDS, World

SOUND_SLOTS = 12
_LEAST_OVERLAP = 0.4


@dataclass(frozen=True)
class ThingLabel:
    """A thing as it is at the middle of a slot: its centre in [0, 1], movement and plate."""

    name: str
    x: float
    y: float
    movement: str
    plate: str | None


@dataclass(frozen=True)
class SceneLabels:
    """`things[slot]` are those visible at the slot's middle; `sounds[slot]` those that sound then.

    There are `slots` slots for what is seen, and twelve of a third of a second for what is heard.
    """

    background: str
    things: tuple[tuple[ThingLabel, ...], ...]
    sounds: tuple[tuple[str, ...], ...]


def labels(scene: Scene, world: World, slots: int = 4) -> SceneLabels:
    """The labels of a scene; a sound is active in a slot of which it fills at least two fifths.

    Raises:
        ValueError: `slots` is not positive, or the scene shows what the world has not.
    """
    if slots < 1:
        raise ValueError(f"slots must be positive, not {slots}")
    for thing in scene.things:
        if thing.name not in world.index:
            raise ValueError(f"the world has no {thing.name}")
    middles = [(slot + 0.5) * CLIP_SECONDS / slots for slot in range(slots)]
    things = tuple(
        tuple(
            ThingLabel(thing.name, *scene.seen_at(thing, middle), thing.movement, thing.plate)
            for thing in scene.things
            if thing.visible_at(middle)
        )
        for middle in middles
    )
    width = CLIP_SECONDS / SOUND_SLOTS
    sounds = tuple(
        tuple(
            sound.name
            for sound in scene.sounds
            if min(sound.end_s, (slot + 1) * width) - max(sound.onset_s, slot * width)
            >= _LEAST_OVERLAP * width
        )
        for slot in range(SOUND_SLOTS)
    )
    return SceneLabels(scene.background, things, sounds)
