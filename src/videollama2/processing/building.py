"""What a model's config says of its processor."""

from __future__ import annotations

from typing import Any

from .chat import released_system_text, released_template
from .feature_extractor import BeatsFeatureExtractor
from .image_processor import VideoLlama2ImageProcessor
from .pixels import Geometry, PixelSettings
from .tokens import KINDS, settle_token_ids
from .video_processor import VideoLlama2VideoProcessor


def parts_of(
    config: Any,
    tokenizer: Any,
    image_settings: object,
    chat_template: str | None,
    geometry: Geometry,
) -> dict[str, Any]:
    """`VideoLlama2Processor`'s arguments for a `VideoLlama2Config`.

    Raises:
        ValueError: the image settings or the tokenizer do not fit.
    """
    if not isinstance(image_settings, PixelSettings):
        image_settings = PixelSettings.from_processor(image_settings, geometry)
    pixels = image_settings.to_dict()
    audio, connector = config.audio_config, config.connector_config
    sound = (
        {}
        if audio is None
        else {
            "feature_size": audio.num_mel_bins,
            "patch": audio.input_patch_size,
            "chunk_length": audio.max_seconds,
        }
    )
    text_type = str(config.text_config.model_type)
    released = config.media_mode == "released"
    template = chat_template or getattr(tokenizer, "chat_template", None)
    ids = settle_token_ids(tokenizer, config)
    return {
        "image_processor": VideoLlama2ImageProcessor(**pixels),
        "video_processor": VideoLlama2VideoProcessor(num_frames=config.num_frames, **pixels),
        "feature_extractor": BeatsFeatureExtractor(media_mode=config.media_mode, **sound),
        "tokenizer": tokenizer,
        "chat_template": template or (released_template(text_type) if released else None),
        "connector_type": connector.connector_type,
        "downsample": connector.downsample,
        "patch_size": config.vision_config.patch_size,
        "image_frames": config.num_frames,
        "has_audio": audio is not None,
        "system_text": released_system_text(text_type) if released else None,
        **{f"{kind}_token_id": ids[kind] for kind in KINDS},
    }
