"""The made audio-visual world: scenes drawn from a seed, their pictures, sounds and questions."""

from .clip import write_clip
from .drawing import draw_scene
from .labels import SceneLabels, ThingLabel, labels
from .questions import (
    CLOSED_KINDS,
    KINDS,
    OPEN_KINDS,
    UNANSWERABLE_KINDS,
    Question,
    ask,
    describe,
)
from .rendering import render_frames
from .scene import Heard, Scene, Shown
from .sounds import render_sound
from .staging import Camera, Post, Staging
from .texts import all_texts
from .world import World, WorldFileError, load_world, pack_world

__all__ = [
    "CLOSED_KINDS",
    "KINDS",
    "OPEN_KINDS",
    "UNANSWERABLE_KINDS",
    "Camera",
    "Heard",
    "Post",
    "Question",
    "Scene",
    "SceneLabels",
    "Shown",
    "Staging",
    "ThingLabel",
    "World",
    "WorldFileError",
    "all_texts",
    "ask",
    "describe",
    "draw_scene",
    "labels",
    "load_world",
    "pack_world",
    "render_frames",
    "render_sound",
    "write_clip",
]
