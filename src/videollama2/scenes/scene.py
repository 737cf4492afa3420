"""What a scene is: things that appear, stand or move, and sounds, on a line of four seconds.

Lengths are fractions of the (square) stage, which is the picture while the camera rests; times are
seconds from the start of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass

from .names import QUARTERS
from .staging import PLAIN, Staging

_STEPS = {
    "still": (0.0, 0.0),
    "left": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "up": (0.0, -1.0),
    "down": (0.0, 1.0),
}


@dataclass(frozen=True)
class Shown:
    """A thing that can be seen from `start_s` until `end_s`.

    `x`, `y` is where its centre is at first; it covers `distance` while it is visible, in the
    direction that `movement` names. `plate` is the colour of what lies behind it, or None.
    """

    name: str
    x: float
    y: float
    size: float
    movement: str
    distance: float
    start_s: float
    end_s: float
    plate: str | None = None
    plate_shape: str = "disc"

    @property
    def quarter(self) -> str:
        """The quarter of the picture in which its centre is at first."""
        return QUARTERS[2 * (self.y >= 0.5) + (self.x >= 0.5)]

    def visible_at(self, time_s: float) -> bool:
        """Whether it can be seen at this time."""
        return self.start_s <= time_s < self.end_s

    def centre_at(self, time_s: float) -> tuple[float, float]:
        """Where its centre (x, y) is at this time."""
        part = min(max((time_s - self.start_s) / (self.end_s - self.start_s), 0.0), 1.0)
        step_x, step_y = _STEPS[self.movement]
        return self.x + step_x * self.distance * part, self.y + step_y * self.distance * part


@dataclass(frozen=True)
class Heard:
    """A sound: the notes (indices among the five of its thing) from `onset_s` on, evenly spaced."""

    name: str
    onset_s: float
    duration_s: float
    notes: tuple[int, ...]
    gain: float

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.onset_s + self.duration_s


@dataclass(frozen=True)
class Scene:
    """Everything that is in a clip; the same scene always gives the same pictures and samples.

    Attributes:
        background: name of its colour.
        texture: index of the background's pattern; `texture_depth` how strong it is.
        things: in order of appearance.
        sequential: things appear one after another, at 0, 1, 2 or 3 s.
        focus: the thing whose appearance may be set against the onset of the only sound, or None.
            It is set where onset and appearance were drawn so that neither tells the order alone.
        sounds: in order of onset.
        brightness, contrast, grain: jitter of the picture (added, multiplied, noise; 0 to 1 scale).
        hiss, loudness: level of the noise bed and gain of the whole soundtrack.
        noise_seed: where picture and sound noise begin.
        staging: how it is filmed.
    """

    background: str
    texture: int
    texture_depth: float
    things: tuple[Shown, ...]
    sequential: bool
    focus: str | None
    sounds: tuple[Heard, ...]
    brightness: float
    contrast: float
    grain: float
    hiss: float
    loudness: float
    noise_seed: int
    staging: Staging = PLAIN

    def seen_at(self, thing: Shown, time_s: float) -> tuple[float, float]:
        """Where in the picture the centre (x, y) of a thing is at this time."""
        return self.staging.camera.at(time_s).place(*thing.centre_at(time_s))
