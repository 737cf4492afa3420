"""What the model saw and heard of a medium: its frames, its spectrogram and the tags found."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videollama2.assistant import sound_class_names
from videollama2.processing.parts import LoadedMedia, MediaReport
from videollama2.serving.errors import ApiError
from videollama2.serving.protocol import ImagePart, MediaPart
from videollama2.serving.service import Service
from videollama2.serving.tags import likeliest, tagger

FRAMES_A_SECOND = 100  # of the filter bank: one every 10 ms
_WINDOW = 10 * FRAMES_A_SECOND  # AudioSet's clips, which tag heads are trained on, have 10 s
_TAGS = 5
_LARGEST_PICTURE = 384


@dataclass(frozen=True, eq=False)
class TagWindow:
    """Tags of one stretch of sound, in seconds from where it begins to be heard."""

    start: float
    end: float
    tags: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class Look:
    """A medium as the encoders got it.

    `pictures` (T, H, W, 3) uint8; `energies` (frames, mel bins), the log mel energies that were
    heard; both may be empty. `windows` is empty where the model has no tag head, or
    answers in vLLM.
    """

    report: MediaReport
    pictures: NDArray[np.uint8]
    energies: NDArray[np.float32]
    windows: tuple[TagWindow, ...]


async def look_at(service: Service, place: str, part: MediaPart) -> Look:
    """Read a medium once more, this time to show it.

    Raises:
        ApiError: it cannot be read.
    """
    loaded = await service.intake.look(place, part)
    heard = _heard(loaded)
    windows = () if heard is None else await _tags(service, heard)
    pictures = await asyncio.to_thread(_pictures, service, loaded, isinstance(part, ImagePart))
    energies: Any = np.zeros((0, 0), np.float32) if heard is None else heard.float().numpy()
    return Look(loaded.report, pictures, energies, windows)


def _heard(loaded: LoadedMedia) -> Tensor | None:
    """The filter bank (frames, mel bins) without what was padded."""
    if loaded.features is None:
        return None
    frames = round(loaded.report.sound_s * FRAMES_A_SECOND)
    return loaded.features[:frames] if frames else None


async def _tags(service: Service, heard: Tensor) -> tuple[TagWindow, ...]:
    config = service.assistant.model.config.audio_config if service.assistant else None
    if config is None or not config.num_sound_classes:
        return ()
    names = sound_class_names(config)
    windows: list[TagWindow] = []
    for first in range(0, len(heard), _WINDOW):
        piece = heard[first : first + _WINDOW]
        if len(piece) < config.input_patch_size:
            break
        try:
            row = await asyncio.wrap_future(service.worker.call(tagger(piece)))
        except ApiError:
            return ()  # vLLM answers, which names no sounds; frames and spectrogram are shown
        found = tuple(
            (tag["name"] or f"class {tag['index']}", float(tag["probability"]))
            for tag in likeliest(row, _TAGS, names)
        )
        start, end = first / FRAMES_A_SECOND, (first + len(piece)) / FRAMES_A_SECOND
        windows.append(TagWindow(start, end, found))
    return tuple(windows)


def _pictures(service: Service, loaded: LoadedMedia, is_image: bool) -> NDArray[np.uint8]:
    if loaded.pixels is None or service.assistant is None:
        return np.zeros((0, 1, 1, 3), np.uint8)
    loader = service.assistant.processor.loader
    settings = loader.image_settings if is_image else loader.video_settings
    pixels = loaded.pixels.float()
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    if max(pixels.shape[-2:]) > _LARGEST_PICTURE:
        scale = _LARGEST_PICTURE / max(pixels.shape[-2:])
        pixels = torch.nn.functional.interpolate(pixels, scale_factor=scale, mode="area")
    mean = torch.tensor(settings.image_mean)[:, None, None]
    std = torch.tensor(settings.image_std)[:, None, None]
    shown = ((pixels * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
    pictures: Any = shown.movedim(1, -1).contiguous().numpy()
    return pictures
