"""Make the processors known to transformers' Auto classes."""

from __future__ import annotations

from typing import Any, cast

import transformers
from transformers.utils.import_utils import is_torchvision_available

from videollama2.model.config import VideoLlama2Config

from .feature_extractor import BeatsFeatureExtractor
from .image_processor import VideoLlama2ImageProcessor
from .processor import VideoLlama2Processor
from .video_processor import VideoLlama2VideoProcessor


def register() -> None:
    """Let AutoProcessor and its like find our classes for our config; again does no harm."""
    auto: Any = cast(Any, transformers)
    auto.AutoProcessor.register(VideoLlama2Config, VideoLlama2Processor, exist_ok=True)
    auto.AutoFeatureExtractor.register(VideoLlama2Config, BeatsFeatureExtractor, exist_ok=True)
    auto.AutoImageProcessor.register(
        VideoLlama2Config, image_processor_classes={"pil": VideoLlama2ImageProcessor}, exist_ok=True
    )
    if is_torchvision_available():  # without it AutoVideoProcessor is a stand-in that only raises
        auto.AutoVideoProcessor.register(
            VideoLlama2Config, VideoLlama2VideoProcessor, exist_ok=True
        )
