"""Scene -> frames, at any size and any time, with pre-scaled pictures kept by the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .names import COLOURS
from .scene import Scene, Shown
from .staging import Post, View
from .world import World

FRAME_PIXELS = 96
_PLATE_SCALE = 1.25


def render_frames(
    scene: Scene, world: World, times_s: Sequence[float], size: int = FRAME_PIXELS
) -> NDArray[np.uint8]:
    """The pictures of a scene at the given times, (times, size, size, 3) uint8 RGB.

    Sizes other than 96 show the same picture scaled, its noise in grains of a 96th.

    Raises:
        ValueError: `size` is below 16.
    """
    if size < 16:
        raise ValueError(f"size {size} is below 16 pixels")
    frames = np.empty((len(times_s), size, size, 3), np.float32)
    # contrast about mid-grey, then brightness; applied to the parts, which is less work
    gain = np.float32(scene.contrast)
    lift = np.float32(127.5 * (1 - scene.contrast) + 255 * scene.brightness)

    @cache
    def ground(view: View) -> NDArray[np.float32]:
        return _background(scene, world, size, view) * gain + lift

    @cache
    def patch(thing: Shown, side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return _patch(thing, world, side, gain, lift)

    for frame, time_s in zip(frames, times_s, strict=True):
        view = scene.staging.camera.at(time_s)
        frame[:] = ground(view)
        for thing in scene.things:
            if thing.visible_at(time_s):
                side = max(round(thing.size * view.zoom * size), 2)
                _blend(frame, *patch(thing, side), scene.seen_at(thing, time_s))
        if scene.staging.post is not None:
            _stand(frame, scene.staging.post, view, gain, lift)
        frame += _grain(scene, world, time_s, size)
    np.clip(frames, 0, 255, out=frames)
    return frames.astype(np.uint8)


def _blend(
    frame: NDArray[np.float32],
    colour: NDArray[np.float32],
    keep: NDArray[np.float32],
    centre: tuple[float, float],
) -> None:
    size, side = frame.shape[0], colour.shape[0]
    left = round(centre[0] * size - side / 2)
    top = round(centre[1] * size - side / 2)
    rows = slice(max(top, 0), min(top + side, size))
    columns = slice(max(left, 0), min(left + side, size))
    inside = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    region = frame[rows, columns]
    region *= keep[inside]
    region += colour[inside]


def _stand(
    frame: NDArray[np.float32], post: Post, view: View, gain: np.float32, lift: np.float32
) -> None:
    size, shade = frame.shape[0], np.float32(post.shade) * gain + lift
    near, far = post.at - post.width / 2, post.at + post.width / 2
    first, last = (round(view.place(at, at)[not post.upright] * size) for at in (near, far))
    frame[(slice(None), slice(first, last)) if post.upright else slice(first, last)] = shade


def _background(scene: Scene, world: World, size: int, view: View) -> NDArray[np.float32]:
    texture = world.textures[scene.texture][..., None]
    if view == View():
        key = ("texture", scene.texture, size)
        pattern = _cached(world, key, lambda: _resample(texture, size))
    else:
        across, down = (
            _weights(len(texture), size, view.zoom, shift) for shift in (view.shift_x, view.shift_y)
        )
        pattern = np.einsum("yr,rc,xc->yx", down, texture[..., 0], across, optimize=True)[..., None]
    colour = np.array(COLOURS[scene.background], np.float32)
    shade = pattern * np.float32(255 * scene.texture_depth)
    return np.clip(colour + shade, 0, 255).astype(np.float32, copy=False)


def _patch(
    thing: Shown, world: World, side: int, gain: np.float32, lift: np.float32
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A thing on its plate: premultiplied colour (side, side, 3), and what it lets through."""
    sprite = _cached(world, ("sprite", thing.name, side), lambda: _sprite(world, thing.name, side))
    colour, through = sprite[..., :3], sprite[..., 3:]
    if thing.plate is None:
        return _lit(colour, through, gain, lift), through
    wide = side + 2 * round(side * (_PLATE_SCALE - 1) / 2)
    shape = thing.plate_shape
    mask = _cached(world, ("plate", shape, wide), lambda: _plate(shape, wide))
    patch = mask * np.array(COLOURS[thing.plate], np.float32)
    keep = np.subtract(1, mask, dtype=np.float32)
    edge = (wide - side) // 2
    inside = (slice(edge, edge + side), slice(edge, edge + side))
    patch[inside] *= through
    patch[inside] += colour
    keep[inside] *= through
    return _lit(patch, keep, gain, lift), keep


def _lit(
    colour: NDArray[np.float32], keep: NDArray[np.float32], gain: np.float32, lift: np.float32
) -> NDArray[np.float32]:
    return (colour * gain + (1 - keep) * lift).astype(np.float32, copy=False)


def _sprite(world: World, name: str, side: int) -> NDArray[np.float32]:
    """Premultiplied colour and transparency (side, side, 4), smoothly resized."""
    source = world.sprites[world.index[name]].astype(np.float32)
    alpha = source[..., 3:] / 255
    layers = _resample(np.concatenate([source[..., :3] * alpha, alpha], axis=2), side)
    layers[..., 3] = 1 - layers[..., 3]
    return layers


def _plate(shape: str, side: int) -> NDArray[np.float32]:
    """How much a plate covers, (side, side, 1) in [0, 1], with soft edges."""
    axis = np.abs(np.arange(side, dtype=np.float32) - (side - 1) / 2)
    if shape == "disc":
        distance = np.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)
        return np.clip(side / 2 - distance, 0, 1)[..., None].astype(np.float32)
    return np.ones((side, side, 1), np.float32)


def _grain(scene: Scene, world: World, time_s: float, size: int) -> NDArray[np.float32]:
    start = (scene.noise_seed + round(time_s * 1000) * 7919) % 65_536
    grain = world.grain[start : start + FRAME_PIXELS * FRAME_PIXELS * 3]
    grain = grain.reshape(FRAME_PIXELS, FRAME_PIXELS, 3) * np.float32(255 * scene.grain)
    if size != FRAME_PIXELS:
        rows = np.arange(size) * FRAME_PIXELS // size
        grain = grain[rows][:, rows]
    return grain


def _cached(
    world: World, key: tuple[object, ...], make: Callable[[], NDArray[np.float32]]
) -> NDArray[np.float32]:
    found = world.cache.get(key)
    if found is None:
        found = world.cache[key] = make()
    return found


def _resample(picture: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Resize (h, h, channels) to (side, side, channels): triangle filter, widened to shrink."""
    weights = _weights(picture.shape[0], side)
    rows = np.tensordot(weights, picture, axes=(1, 0))
    return np.ascontiguousarray(np.moveaxis(np.tensordot(weights, rows, axes=(1, 1)), 0, 1))


def _weights(source: int, side: int, zoom: float = 1.0, shift: float = 0.0) -> NDArray[np.float32]:
    """What each source pixel gives to each of one axis; beyond its ends the source goes on."""
    scale = source / side / zoom
    seen = 0.5 + ((np.arange(side) + 0.5) / side - 0.5 - shift) / zoom
    centres = seen * source - 0.5
    centres = np.clip(centres, -0.5, source - 0.5)
    reach = max(scale, 1.0)
    weights = np.clip(1 - np.abs(np.arange(source)[None, :] - centres[:, None]) / reach, 0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
