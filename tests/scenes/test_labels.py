from __future__ import annotations

from dataclasses import replace

import pytest

from videollama2.scenes import Scene, World, labels


def test_labels_hold_what_is_there(world: World, scenes: list[Scene]) -> None:
    for scene in scenes:
        made = labels(scene, world)
        assert made.background == scene.background
        assert len(made.things) == 4
        assert len(made.sounds) == 12
        for slot, of in enumerate(made.things):
            expected = {thing.name for thing in scene.things if thing.start_s <= slot < thing.end_s}
            assert {label.name for label in of} == expected
            for label in of:
                thing = next(thing for thing in scene.things if thing.name == label.name)
                assert (label.movement, label.plate) == (thing.movement, thing.plate)
                assert 0 < label.x < 1
                assert 0 < label.y < 1
        # count, in steps of 1 ms, how long each sound lasts in each slot
        for slot, names in enumerate(made.sounds):
            times = [slot / 3 + step / 1000 for step in range(333)]
            for sound in scene.sounds:
                share = sum(sound.onset_s <= time < sound.end_s for time in times) / 333
                if abs(share - 0.4) > 0.01:
                    assert (sound.name in names) == (share > 0.4)


def test_movement_shows_in_the_places(world: World, scenes: list[Scene]) -> None:
    found = set()
    for scene in scenes:
        made = labels(scene, world, slots=8)
        for thing in scene.things:
            path = [label for of in made.things for label in of if label.name == thing.name]
            dx, dy = path[-1].x - path[0].x, path[-1].y - path[0].y
            if thing.movement == "still":
                assert max(abs(dx), abs(dy)) < 0.12
            else:
                across = abs(dx) > abs(dy)
                word = ("right" if dx > 0 else "left") if across else ("down" if dy > 0 else "up")
                assert word == thing.movement
            found.add(thing.movement)
    assert len(found) == 5


def test_wrong_use(world: World, scenes: list[Scene]) -> None:
    with pytest.raises(ValueError, match="slots"):
        labels(scenes[0], world, slots=0)
    stranger = replace(scenes[0], things=(replace(scenes[0].things[0], name="piano"),))
    with pytest.raises(ValueError, match="piano"):
        labels(stranger, world)
