"""Rows of ids for the tiny model: text as numbers, media by name."""

from __future__ import annotations

import torch

from videollama2.model.config import VideoLlama2Config
from videollama2.model.tokens import num_audio_tokens, num_image_tokens, num_video_tokens


def row(config: VideoLlama2Config, *parts: str | int) -> list[int]:
    """Ids of a row: "video", "image", "audio" become runs, numbers stay."""
    counts = {
        "video": num_video_tokens(config, 8),
        "image": num_image_tokens(config),
        "audio": num_audio_tokens(config.audio_config, 98),
    }
    ids: list[int] = []
    for part in parts:
        if isinstance(part, str):
            ids += [getattr(config, f"{part}_token_id")] * counts[part]
        else:
            ids.append(part)
    return ids


def padded(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(r)) + r for r in rows])
    mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
    }
