"""`VideoLlama2VideoProcessor`: frames -> (T, 3, H, W), in transformers' form.

transformers' own base class wants torchvision, or, from 5.18 on, has a mixin that does not. Frames
are read by `media` (PyAV, by keyframe), never by transformers' decoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import transformers.video_processing_utils as video_processing_utils
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from videollama2.media.video import VideoClip, read_video

from .image_processor import PixelAttributes, as_frame
from .pixels import to_pixels

_Base: Any = getattr(video_processing_utils, "VideoProcessorMixin", BaseImageProcessor)


class VideoLlama2VideoProcessor(PixelAttributes, _Base):
    """Videos as the vision tower takes them. Takes `num_frames` and `PixelSettings`' fields."""

    model_input_names = ["pixel_values_videos"]  # noqa: RUF012

    def __init__(self, num_frames: int = 16, **kwargs: Any) -> None:
        self.set_pixel_attributes(kwargs)
        self.num_frames = num_frames
        # Frames are sampled where they are read: servers need not pass a clip's metadata on.
        self.do_sample_frames = False
        for name in ("do_sample_frames", "video_processor_type", "processor_class"):
            kwargs.pop(name, None)
        super().__init__(**kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = cast(dict[str, Any], super().to_dict())  # pyright: ignore[reportUnknownMemberType]
        values.pop("image_processor_type", None)
        return {**values, "video_processor_type": type(self).__name__}

    def preprocess(self, videos: Any, *_: Any, **kwargs: Any) -> BatchFeature:
        """Videos, each frames or something to read -> `pixel_values_videos`.

        That is float32 (items, T, 3, H, W), or a list of (T, 3, H, W) where T differs.
        Raises `ValueError` for frames of another form, `media.MediaError` for unreadable files.
        """
        clips = [to_pixels(self._frames(video), self.settings) for video in as_videos(videos)]
        same = len({len(clip) for clip in clips}) == 1
        return BatchFeature({"pixel_values_videos": torch.stack(clips) if same else clips})

    __call__ = preprocess

    def _frames(self, video: Any) -> list[Any]:
        if isinstance(video, VideoClip):
            return video.frames
        if isinstance(video, (np.ndarray, torch.Tensor)) or is_frames(video):
            return [as_frame(frame) for frame in video]
        return read_video(video, num_frames=self.num_frames).frames

    def fetch_videos(self, video_url_or_urls: Any, sample_indices_fn: Any = None) -> Any:
        """Frames of a path or URL, read and sampled by `media`; a list gives a list."""
        if isinstance(video_url_or_urls, (list, tuple)):
            several = cast(Sequence[Any], video_url_or_urls)
            pairs = [self.fetch_videos(one) for one in several]
            return [frames for frames, _ in pairs], [clip for _, clip in pairs]
        clip = read_video(video_url_or_urls, num_frames=self.num_frames)
        return np.stack(clip.frames), clip


def is_frames(value: Any) -> bool:
    """Whether a list holds the frames of one video, rather than several videos."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    first = cast(Sequence[Any], value)[0]
    if isinstance(first, (np.ndarray, torch.Tensor)):
        return cast(Any, first).ndim == 3
    return isinstance(first, Image.Image)


def as_videos(videos: Any) -> list[Any]:
    """One video, a list of them or nested lists -> a flat list of videos; None gives none.

    An array (T, H, W, 3), a list of frames (arrays, Pillow images), a path, bytes or anything else
    that is not a list is one video; an array (items, T, H, W, 3) is several.
    """
    if videos is None:
        return []
    if isinstance(videos, (np.ndarray, torch.Tensor)):
        return list(cast(Any, videos)) if videos.ndim == 5 else [videos]
    if not isinstance(videos, (list, tuple)) or is_frames(videos):
        return [videos]
    return [one for item in cast(Sequence[Any], videos) for one in as_videos(item)]
