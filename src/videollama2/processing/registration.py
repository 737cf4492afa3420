"""Make the processors known to transformers' Auto classes."""

from __future__ import annotations

from typing import Any, cast

# From their own modules: where torchvision is missing, `transformers` itself may give stand-ins of
# these names that only raise.
from transformers.models.auto import (
    feature_extraction_auto,
    image_processing_auto,
    processing_auto,
    video_processing_auto,
)

from videollama2.model.config import VideoLlama2Config

from .feature_extractor import BeatsFeatureExtractor
from .image_processor import VideoLlama2ImageProcessor
from .processor import VideoLlama2Processor
from .video_processor import VideoLlama2VideoProcessor


def register() -> None:
    """Let AutoProcessor and its like find our classes for our config; again does no harm."""
    processors = cast(Any, processing_auto).AutoProcessor
    extractors = cast(Any, feature_extraction_auto).AutoFeatureExtractor
    images = cast(Any, image_processing_auto).AutoImageProcessor
    videos = cast(Any, video_processing_auto).AutoVideoProcessor
    processors.register(VideoLlama2Config, VideoLlama2Processor, exist_ok=True)
    extractors.register(VideoLlama2Config, BeatsFeatureExtractor, exist_ok=True)
    pillow = {"pil": VideoLlama2ImageProcessor}
    images.register(VideoLlama2Config, image_processor_classes=pillow, exist_ok=True)
    videos.register(VideoLlama2Config, VideoLlama2VideoProcessor, exist_ok=True)
