from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from videollama2.scenes import (
    Camera,
    Post,
    Scene,
    Shown,
    Staging,
    World,
    draw_scene,
    labels,
    render_frames,
    render_sound,
)
from videollama2.scenes.staging import draw_staging

TIMES = tuple(0.25 + 0.5 * k for k in range(8))


@pytest.fixture
def plain(world: World) -> Scene:
    scene = draw_scene(world, np.random.default_rng(1))
    return replace(
        scene,
        things=(),
        grain=0.0,
        brightness=0.0,
        contrast=1.0,
        texture_depth=0.0,
        staging=Staging(),
        background="white",
    )


def middle_of(frame: np.ndarray) -> tuple[float, float]:
    """Of what is not white, by its outermost pixels, as (x, y) in [0, 1]."""
    there = (frame < 200).any(2)
    across, down = np.flatnonzero(there.any(0)), np.flatnonzero(there.any(1))
    return tuple((one[0] + one[-1] + 1) / 2 / len(frame) for one in (across, down))


@pytest.mark.parametrize("camera", [Camera(pan_x=0.1, pan_y=-0.06), Camera(zoom_to=1.15)])
def test_a_thing_is_seen_where_its_label_says(world: World, plain: Scene, camera: Camera) -> None:
    thing = Shown("square", 0.25, 0.7, 0.3, "right", 0.4, 0.0, 4.0)
    scene = replace(plain, things=(thing,), staging=Staging(camera))
    middles = [(slot + 0.5) * 0.5 for slot in range(8)]
    frames = render_frames(scene, world, middles, 192)
    for frame, (label,) in zip(frames, labels(scene, world, 8).things, strict=True):
        assert middle_of(frame) == pytest.approx((label.x, label.y), abs=1.5 / 192)


def test_zoom_makes_a_thing_larger(world: World, plain: Scene) -> None:
    thing = Shown("square", 0.5, 0.5, 0.5, "still", 0.0, 0.0, 4.0)
    scene = replace(plain, things=(thing,), staging=Staging(Camera(zoom_to=1.2)))
    widths = [
        np.count_nonzero((frame < 200).any((0, 2)))
        for frame in render_frames(scene, world, (0.0, 3.99))
    ]
    assert widths[1] / widths[0] == pytest.approx(1.2, abs=0.05)


def test_the_background_goes_with_the_camera(world: World, plain: Scene) -> None:
    """Half a second apart, a panned picture is the one before it, moved."""
    scene = replace(plain, texture_depth=0.3, staging=Staging(Camera(pan_x=1 / 3)))
    before, after = render_frames(scene, world, (2.0, 3.0)).astype(int)  # 8 of 96 pixels
    assert np.abs(after[:, 12:-4] - before[:, 4:-12]).mean() < 1
    assert np.abs(after - before).mean() > 3


def test_a_post_hides_what_is_behind_it(world: World, plain: Scene) -> None:
    thing = Shown("square", 0.5, 0.5, 0.5, "still", 0.0, 0.0, 4.0)
    for upright in (True, False):
        scene = replace(
            plain, things=(thing,), staging=Staging(post=Post(upright, 0.5, 0.0833, 120.0))
        )
        frame = render_frames(scene, world, (1.0,))[0]
        frame = frame if upright else frame.swapaxes(0, 1)
        assert (frame[:, 44:52] == 120).all()
        bare = render_frames(replace(scene, staging=Staging()), world, (1.0,))[0]
        bare = bare if upright else bare.swapaxes(0, 1)
        assert np.array_equal(frame[:, :44], bare[:, :44])
        assert np.array_equal(frame[:, 52:], bare[:, 52:])


def test_babble_is_as_loud_as_it_says(world: World, plain: Scene) -> None:
    quiet = replace(plain, sounds=(), hiss=0.0, loudness=1.0)
    track = render_sound(replace(quiet, staging=Staging(babble=0.03)), world)
    assert track.std() == pytest.approx(0.03, rel=0.25)
    assert not render_sound(quiet, world).any()
    assert np.isfinite(world.babble).all()
    # like speech: most of it between 100 and 4000 Hz
    power = np.abs(np.fft.rfft(world.babble)) ** 2
    frequency = np.fft.rfftfreq(len(world.babble), 1 / 16_000)
    assert power[(frequency > 100) & (frequency < 4000)].sum() > 0.9 * power.sum()


def test_what_stands_stays_in_its_quarter_and_keeps_still(world: World) -> None:
    rng, stagings = np.random.default_rng(3), []
    for _ in range(1500):
        scene = draw_scene(world, rng)
        stagings.append(scene.staging)
        for thing in scene.things:
            path = [scene.seen_at(thing, time) for time in (0.0, 2.0, 3.99)]
            went = [max(x) - min(x) for x in zip(*path, strict=True)]
            if thing.movement == "still":
                assert max(went) < 0.12
                assert {(x >= 0.5, y >= 0.5) for x, y in path} == {(thing.x >= 0.5, thing.y >= 0.5)}
            elif thing.end_s - thing.start_s == 4:
                assert max(went) > 0.2
    assert 0.3 < np.mean([one.camera != Camera() for one in stagings]) < 0.4
    assert 0.25 < np.mean([one.post is not None for one in stagings]) < 0.35
    assert 0.2 < np.mean([one.babble > 0 for one in stagings]) < 0.3


def test_staging_leaves_the_rest_of_a_scene_as_it_was(world: World) -> None:
    """What is drawn of a generator after a scene does not hang on how that one was filmed."""
    rng, other = np.random.default_rng(4), np.random.default_rng(4)
    draw_scene(world, rng)
    staged = draw_scene(world, rng)
    assert staged.staging == draw_staging(np.random.default_rng(4).spawn(2)[1])
    draw_scene(world, other)
    other.spawn(5)
    assert replace(draw_scene(world, other), staging=staged.staging) == staged
