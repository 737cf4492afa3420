from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from videollama2.scenes import Scene, Shown, Staging, World, draw_scene, render_frames
from videollama2.scenes.names import COLOURS

TIMES = tuple(0.25 + 0.5 * k for k in range(8))


@pytest.fixture
def plain(world: World) -> Scene:
    scene = draw_scene(world, np.random.default_rng(1))
    plain = replace(scene, things=(), grain=0.0, brightness=0.0, contrast=1.0, texture_depth=0.0)
    return replace(plain, staging=Staging())


def test_the_same_scene_gives_the_same_pixels(world: World, scenes: list[Scene]) -> None:
    for scene in scenes[:20]:
        frames = render_frames(scene, world, TIMES)
        assert frames.shape == (8, 96, 96, 3)
        assert frames.dtype == np.uint8
        assert np.array_equal(frames, render_frames(scene, world, TIMES))
        # a frame does not depend on which others are asked for
        assert np.array_equal(frames[3], render_frames(scene, world, TIMES[3:4])[0])


def test_a_bare_scene_is_its_background(world: World, plain: Scene) -> None:
    for colour, rgb in COLOURS.items():
        frame = render_frames(replace(plain, background=colour), world, (0.5,))[0]
        assert np.abs(frame.astype(int) - rgb).max() <= 1


def test_a_thing_looks_as_its_picture_does(world: World, plain: Scene) -> None:
    """Set into the background by Pillow, an independent hand, it comes out nearly the same."""
    for name in world.names:
        thing = Shown(name, 0.5, 0.5, 32 / 96, "still", 0.0, 0.0, 4.0)
        frame = render_frames(replace(plain, things=(thing,)), world, (1.5,))[0]
        paper = Image.new("RGBA", (96, 96), (*COLOURS[plain.background], 255))
        sprite = Image.fromarray(world.sprites[world.index[name]]).convert("RGBa")
        small = sprite.resize((32, 32), Image.Resampling.BILINEAR).convert("RGBA")
        paper.alpha_composite(small, (32, 32))
        expected = np.asarray(paper.convert("RGB")).astype(float)
        assert np.abs(frame - expected).mean() < 1.0
        assert np.abs(frame - expected)[32:64, 32:64].mean() < 4.0


def test_things_come_go_and_move(world: World, plain: Scene) -> None:
    thing = Shown("circle", 0.25, 0.5, 0.3, "right", 0.3, 1.0, 3.0)
    frames = render_frames(replace(plain, things=(thing,)), world, (0.9, 1.0, 2.0, 2.99, 3.0))
    changed = np.abs(frames.astype(int) - COLOURS[plain.background]).max(3) > 2
    assert [bool(picture.any()) for picture in changed] == [False, True, True, True, False]
    centres = [np.flatnonzero(picture.any(0)).mean() + 0.5 for picture in changed[1:4]]
    assert centres == pytest.approx([24, 38.4, 52.8], abs=1.0)
    rows = np.flatnonzero(changed[1].any(1))
    assert rows.mean() + 0.5 == pytest.approx(48, abs=1.0)


@pytest.mark.parametrize("shape", ["disc", "square"])
def test_a_plate_lies_behind(world: World, plain: Scene, shape: str) -> None:
    scene = replace(plain, background="white")
    thing = Shown("ring", 0.5, 0.5, 0.3, "still", 0.0, 0.0, 4.0, "blue", shape)
    frame = render_frames(replace(scene, things=(thing,)), world, (1.0,))[0]
    assert np.abs(frame[48, 48].astype(int) - COLOURS["blue"]).max() <= 1  # through the ring
    assert np.abs(frame[48, 36].astype(int) - COLOURS["blue"]).max() > 30  # the ring itself
    corner = frame[32, 32].astype(int)
    expected = COLOURS["blue"] if shape == "square" else COLOURS["white"]
    assert np.abs(corner - expected).max() <= 1


def test_larger_pictures_look_the_same(world: World, scenes: list[Scene]) -> None:
    for scene in scenes[:15]:
        scene = replace(scene, grain=0.0)
        small = render_frames(scene, world, TIMES[::3]).astype(float)
        large = render_frames(scene, world, TIMES[::3], 192).astype(float)
        shrunk = large.reshape(-1, 96, 2, 96, 2, 3).mean((2, 4))
        assert np.abs(shrunk - small).mean() < 4
    with pytest.raises(ValueError, match="16"):
        render_frames(scenes[0], world, TIMES, 8)
