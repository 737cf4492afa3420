"""`/v1/audio/tags`: which sounds are heard when."""

from __future__ import annotations

import asyncio
from typing import Any

import torch
from torch import Tensor

from videollama2.assistant import sound_class_names
from videollama2.serving.completions import check_model
from videollama2.serving.errors import ApiError
from videollama2.serving.protocol import TagsRequest
from videollama2.serving.service import Service


async def tags(service: Service, request: TagsRequest) -> dict[str, Any]:
    """The likeliest sound classes of each window of a sound.

    Raises:
        ApiError: the model has no tag head, or the sound is refused or cannot be read.
    """
    check_model(request.model, service)
    intake = service.intake
    audio_config = service.assistant.model.config.audio_config if service.assistant else None
    if audio_config is None or not audio_config.num_sound_classes:
        raise ApiError(400, "this model has no tag head", code="no_tag_head", param="model")
    limit_s = service.settings.deadline_s
    try:
        async with asyncio.timeout(limit_s):
            windows = await intake.windows("audio", request.audio, request.window_s)
            probabilities = [
                await asyncio.wrap_future(service.worker.call(tagger(features)))
                for features in windows.features
            ]
    except TimeoutError:
        raise ApiError(
            504, f"there is no answer within {limit_s:g} s", code="deadline_exceeded"
        ) from None
    names = sound_class_names(audio_config)
    data = [
        {
            "start": index * windows.window_s,
            "end": min((index + 1) * windows.window_s, windows.duration_s),
            "tags": likeliest(row, request.top_k, names),
        }
        for index, row in enumerate(probabilities)
    ]
    return {
        "object": "list",
        "model": service.settings.model_name,
        "duration_s": windows.duration_s,
        "data": data,
    }


def tagger(features: Tensor) -> Any:
    """Work for the model's thread: (frames, mel bins) -> (classes,) probabilities."""

    def work(model: Any) -> Tensor:
        with torch.inference_mode():
            item = features[None].to(model.device, model.dtype)
            return model.tag_sound(item)[0].float().cpu()

    return work


def likeliest(row: Tensor, top: int, names: dict[int, str]) -> list[dict[str, Any]]:
    """The `top` classes of (classes,) probabilities, the likeliest first."""
    found: Any = row.topk(min(top, len(row)))
    pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
    return [
        {"index": place, "name": names.get(place), "probability": value} for place, value in pairs
    ]
