"""Whether a reply can be true: a process that hostile bytes have taken over may send anything."""

from __future__ import annotations

from math import isfinite

import torch

from videollama2.processing.loader import MediaLoader
from videollama2.processing.parts import AudioInput, ImageInput, LoadedMedia, Part, VideoInput
from videollama2.reading.task import LEVELS, AnyInput, SoundWindows, WindowMedia

_MOST_FRAMES = 4096
_MOST_SOUND = 1 << 20
_MOST_THUMBNAIL = 1 << 18


def check(reply: LoadedMedia | SoundWindows, part: Part | AnyInput, loader: MediaLoader) -> None:
    """Hold the shapes against those that the model takes.

    Raises:
        ValueError: no reader of ours sends this.
    """
    if isinstance(reply, SoundWindows):
        for features in reply.features:
            _check_sound(features, loader)
        return
    kinds = ((VideoInput, "video"), (ImageInput, "image"), (AudioInput, "audio"))
    if any(isinstance(part, asked) and reply.kind != kind for asked, kind in kinds):
        raise ValueError(f"the reply is of the kind {reply.kind}")
    if (reply.pixels is None) != (reply.kind == "audio"):
        raise ValueError("pictures are missing, or are there where none were asked for")
    if reply.pixels is not None:
        settings = loader.image_settings if reply.kind == "image" else loader.video_settings
        shape = tuple(reply.pixels.shape[reply.pixels.ndim - 3 :])
        frames = reply.pixels.shape[0] if reply.pixels.ndim == 4 else 1
        if shape != (3, *settings.size) or reply.pixels.ndim != 3 + (reply.kind == "video"):
            raise ValueError(f"pictures of the shape {tuple(reply.pixels.shape)}")
        if not 1 <= frames <= _MOST_FRAMES or not torch.is_floating_point(reply.pixels):
            raise ValueError(f"{frames} pictures of {reply.pixels.dtype}")
    if reply.features is not None:
        _check_sound(reply.features, loader)
    if len(reply.report.notes) > 100 or len(reply.report.timestamps_s) > _MOST_FRAMES:
        raise ValueError("a report without an end")


def check_window(reply: WindowMedia, loader: MediaLoader) -> None:
    """As `check`, for a window: what is shown on a page is a picture, and small.

    Raises:
        ValueError: no reader of ours sends this.
    """
    if reply.media is not None:
        check(reply.media, AnyInput(""), loader)
    if len(reply.levels) not in (0, LEVELS) or len(reply.thumbnail) > _MOST_THUMBNAIL:
        raise ValueError("a window without an end")
    if not all(isfinite(one) for one in (reply.start_s, reply.end_s or 0.0, *reply.levels)):
        raise ValueError("a window at no time")


def _check_sound(features: torch.Tensor, loader: MediaLoader) -> None:
    if features.ndim != 2 or features.shape[1] != loader.num_mel_bins:
        raise ValueError(f"sound of the shape {tuple(features.shape)}")
    if not 0 < len(features) <= _MOST_SOUND or not torch.is_floating_point(features):
        raise ValueError(f"{len(features)} rows of {features.dtype}")
