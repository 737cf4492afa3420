"""What people hand in as media, and what it has become: plain records between the rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch

Kind = Literal["video", "image", "audio"]
Sampling = Literal["uniform", "fps"]


@dataclass(frozen=True)
class VideoInput:
    """A video and how much of it to take.

    `source` is whatever `media.read_video` takes (path, URL, bytes, frames), or a `VideoClip`.
    `start` and `end` in seconds, for picture and sound alike. `num_frames` None is the processor's
    own; `sampling` "fps" takes one frame a second instead, the first 32, as the released code does
    without a frame count. `sound`: None hears the soundtrack if there is one and the model has
    ears, True insists on it, False leaves it out. `allow_partial` takes what a broken file holds.
    """

    source: Any
    start: float | None = None
    end: float | None = None
    num_frames: int | None = None
    sound: bool | None = None
    sampling: Sampling = "uniform"
    allow_partial: bool = False


@dataclass(frozen=True)
class ImageInput:
    """An image: whatever `media.read_image` takes."""

    source: Any


@dataclass(frozen=True)
class AudioInput:
    """A sound: whatever `media.read_audio` takes, a `Sound`, or samples (samples,) as an array.

    `sampling_rate` is for arrays alone. `start` and `end` in seconds.
    """

    source: Any
    start: float | None = None
    end: float | None = None
    sampling_rate: int = 16_000
    allow_partial: bool = False


@dataclass(frozen=True)
class MediaReport:
    """What was taken in of one medium.

    `duration_s` is that of the medium; `frames` how many were taken from it; `sound_s` how many
    seconds of its sound reach the model; `notes` say what is unusual, in whole sentences.
    `timestamps_s` are the frames' seconds from the clip's first frame, where it has a clock.
    """

    path: str
    kind: Kind
    duration_s: float | None
    frames: int
    sound_s: float
    notes: tuple[str, ...] = ()
    timestamps_s: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class LoadedMedia:
    """A medium, read and turned into the encoders' inputs: load it once, ask about it often.

    `pixels`: (T, 3, H, W) of a video, (3, H, W) of an image. `features`: log mel energies
    (frames, mel bins) of a sound or soundtrack; an audio-visual video has both. Instead of either
    there may be what a frozen encoder made of it: `encoded_pictures` (T, patches, C), an image's
    with T = 1, and `encoded_sound` (tokens, C).
    """

    kind: Kind
    pixels: torch.Tensor | None
    features: torch.Tensor | None
    report: MediaReport
    encoded_pictures: torch.Tensor | None = None
    encoded_sound: torch.Tensor | None = None

    @property
    def frames(self) -> int | None:
        """Frames of a video or image; None without pictures."""
        if self.kind == "image":
            return 1
        pictures = self.pixels if self.encoded_pictures is None else self.encoded_pictures
        return None if pictures is None else len(pictures)


Part: TypeAlias = VideoInput | ImageInput | AudioInput | LoadedMedia

_SOURCE_KEYS: dict[str, tuple[str, ...]] = {
    "video": ("video", "path", "url"),
    "image": ("image", "path", "url", "base64"),
    "audio": ("audio", "path", "url"),
}
_OPTIONS: dict[str, tuple[str, ...]] = {
    "video": ("start", "end", "num_frames", "sound", "sampling", "allow_partial"),
    "image": (),
    "audio": ("start", "end", "sampling_rate", "allow_partial"),
}
_INPUTS: dict[str, type[VideoInput | ImageInput | AudioInput]] = {
    "video": VideoInput,
    "image": ImageInput,
    "audio": AudioInput,
}


def part_from_message(block: Mapping[str, Any]) -> Part:
    """A content block such as `{"type": "video", "path": "clip.mp4", "start": 2.0}` as a part.

    The source may be a part itself, or a `LoadedMedia`. Also understood: the OpenAI form
    `{"type": "image_url", "image_url": {"url": ...}}` and its like.
    Raises `ValueError` for an unknown type, no source, two sources or an unknown key.
    """
    kind = str(block.get("type", "")).removesuffix("_url")
    if kind not in _INPUTS:
        raise ValueError(
            f"a content part of type {block.get('type')!r}: it is text, video, image or audio"
        )
    block = {key.removesuffix("_url"): value for key, value in block.items()}
    keys = [key for key in _SOURCE_KEYS[kind] if block.get(key) is not None]
    if len(keys) != 1:
        names = ", ".join(_SOURCE_KEYS[kind])
        raise ValueError(f"a {kind} part names one source ({names}); this one has {keys or 'none'}")
    unknown = set(block) - {"type", *keys, *_OPTIONS[kind]}
    if unknown:
        raise ValueError(
            f"a {kind} part does not know {', '.join(sorted(unknown))}; "
            f"it knows {', '.join(_OPTIONS[kind]) or 'its source only'}"
        )
    source: Any = block[keys[0]]
    if isinstance(source, dict) and "url" in source:
        source = source["url"]  # pyright: ignore[reportUnknownVariableType]
    elif keys[0] == "base64" and isinstance(source, str) and not source.startswith("data:"):
        source = f"data:image/*;base64,{source}"
    options = {key: block[key] for key in _OPTIONS[kind] if block.get(key) is not None}
    return as_part(kind, source, options)


def as_part(kind: str, source: Any, options: Mapping[str, Any] | None = None) -> Part:
    """`source` as a part of this kind; a part is left as it is.

    Raises `ValueError` where a part is of another kind.
    """
    if isinstance(source, (VideoInput, ImageInput, AudioInput, LoadedMedia)):
        found = kind_of(source)
        if found != kind:
            raise ValueError(f"a {found} was given where the text has a {kind}")
        return source
    return _INPUTS[kind](source, **(options or {}))


def kind_of(part: Part) -> Kind:
    """Which of the three kinds a part is."""
    if isinstance(part, LoadedMedia):
        return part.kind
    if isinstance(part, VideoInput):
        return "video"
    return "image" if isinstance(part, ImageInput) else "audio"
