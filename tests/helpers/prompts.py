"""Prompts of every kind for the tiny model."""

from __future__ import annotations

from typing import Any

import torch

from videollama2.generation.encode import encode_medium
from videollama2.generation.prompt import MediumTokens, Prompt


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def video(model: Any, seed: int = 0, frames: int = 8) -> MediumTokens:
    return encode_medium(model, "video", noise(frames, 3, 28, 28, seed=seed))


def image(model: Any, seed: int = 0) -> MediumTokens:
    return encode_medium(model, "image", noise(3, 28, 28, seed=seed))


def audio(model: Any, seed: int = 0, frames: int = 100) -> MediumTokens:
    return encode_medium(model, "audio", 15 + 6 * noise(frames, 128, seed=seed))


def prompt(model: Any, tokenizer: Any, *parts: str | MediumTokens) -> Prompt:
    """Text and media in the order given."""
    ids: list[int] = []
    placeholders = model.model.media_token_ids()
    for part in parts:
        if isinstance(part, str):
            ids += tokenizer(part, add_special_tokens=False).input_ids
        else:
            ids += [placeholders[part.kind]] * len(part.features)
    return Prompt(tuple(ids), tuple(part for part in parts if isinstance(part, MediumTokens)))


def mixed(model: Any, tokenizer: Any) -> list[Prompt]:
    """Text alone, an image, a sound, an audio-visual clip of another length, two media."""
    return [
        prompt(model, tokenizer, "what is two and two?"),
        prompt(model, tokenizer, image(model), "\nwhat is it?"),
        prompt(model, tokenizer, audio(model, frames=70), "\nwho?"),
        prompt(model, tokenizer, video(model, 1, frames=6), audio(model, 2), "\nwhat sounds?"),
        prompt(model, tokenizer, video(model, 3), "\nand ", image(model, 4), "\nalike?"),
    ]
