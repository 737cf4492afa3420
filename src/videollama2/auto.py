"""Make the model known to transformers' Auto classes."""

from __future__ import annotations

from functools import cache
from typing import Any

import transformers

from videollama2.model.config import VideoLlama2Config, register_released_model_types
from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.trunk import VideoLlama2Model
from videollama2.processing import register as register_processors

# Not every transformers that this project runs on has all of them.
_MODELS = {
    "AutoModel": VideoLlama2Model,
    "AutoModelForMultimodalLM": VideoLlama2ForConditionalGeneration,
    "AutoModelForImageTextToText": VideoLlama2ForConditionalGeneration,
}


@cache
def register() -> None:
    """Let AutoConfig, AutoModel, AutoProcessor and their like take our and the released configs."""
    auto: Any = transformers
    auto.AutoConfig.register(VideoLlama2Config.model_type, VideoLlama2Config, exist_ok=True)
    register_released_model_types()
    for name, model in _MODELS.items():
        if hasattr(transformers, name):
            getattr(auto, name).register(VideoLlama2Config, model, exist_ok=True)
    register_processors()
