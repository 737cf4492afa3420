"""Media and conversation -> the model's inputs."""

from .parts import AudioInput, ImageInput, LoadedMedia, MediaReport, VideoInput
from .pixels import PixelSettings

__all__ = [
    "AudioInput",
    "ImageInput",
    "LoadedMedia",
    "MediaReport",
    "PixelSettings",
    "VideoInput",
    "register",
]


def register() -> None:
    """Make the processors known to transformers' Auto classes."""
    from .registration import register as register_processors

    register_processors()
