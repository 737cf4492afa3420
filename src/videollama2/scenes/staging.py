"""How a scene is filmed: a camera that pans or zooms, a post in front, and people talking around.

None of it is asked about. It is kept so small that a thing that stands is never seen to move as
far as one that moves, stays in its quarter, and is hidden by less than a third.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLIP_SECONDS = 4.0
_CAMERA_SHARE, _POST_SHARE, _BABBLE_SHARE = 0.35, 0.3, 0.25
_FARTHEST_PAN, _NEAREST_ZOOM = 0.1, 1.15


@dataclass(frozen=True)
class View:
    """What is seen at one moment: the stage about its middle, `zoom` times as large, shifted."""

    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where in the picture a point of the stage is seen."""
        return (
            0.5 + (x - 0.5) * self.zoom + self.shift_x,
            0.5 + (y - 0.5) * self.zoom + self.shift_y,
        )


@dataclass(frozen=True)
class Camera:
    """Pans evenly over the clip, by `pan_x`, `pan_y` in all, or goes from one zoom to another.

    Half way through the clip a panning camera looks at the middle of the stage.
    """

    pan_x: float = 0.0
    pan_y: float = 0.0
    zoom_from: float = 1.0
    zoom_to: float = 1.0

    def at(self, time_s: float) -> View:
        """What it sees at this time."""
        part = time_s / CLIP_SECONDS
        zoom = self.zoom_from + (self.zoom_to - self.zoom_from) * part
        return View(zoom, self.pan_x * (part - 0.5), self.pan_y * (part - 0.5))


@dataclass(frozen=True)
class Post:
    """A grey bar across the stage, before everything else: upright about `at`, or lying."""

    upright: bool
    at: float
    width: float
    shade: float  # 0 black to 255 white


@dataclass(frozen=True)
class Staging:
    """The camera, a post or None, and the level of the babble (0: nobody talks)."""

    camera: Camera = Camera()
    post: Post | None = None
    babble: float = 0.0


PLAIN = Staging()


def draw_staging(rng: np.random.Generator) -> Staging:
    """A random one; about a third of them is plain."""
    camera, post, babble = Camera(), None, 0.0
    if rng.random() < _CAMERA_SHARE:
        camera = _camera(rng)
    if rng.random() < _POST_SHARE:
        post = Post(
            upright=bool(rng.random() < 0.5),
            at=float(rng.uniform(0.1, 0.9)),
            width=float(rng.uniform(0.04, 0.09)),
            shade=float(rng.uniform(50, 200)),
        )
    if rng.random() < _BABBLE_SHARE:
        babble = float(10 ** rng.uniform(-2.3, -1.4))
    return Staging(camera, post, babble)


def _camera(rng: np.random.Generator) -> Camera:
    if rng.random() < 0.5:
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.04, _FARTHEST_PAN)
        return Camera(pan_x=float(length * np.cos(angle)), pan_y=float(length * np.sin(angle)))
    zoom = float(rng.uniform(1.05, _NEAREST_ZOOM))
    return Camera(zoom_to=zoom) if rng.random() < 0.5 else Camera(zoom_from=zoom)
