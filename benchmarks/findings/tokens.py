"""How many tokens STC makes of a clip."""

from __future__ import annotations


def tokens_of(frames: int) -> int:
    """Nine for each two frames of 6 x 6 patches, by a step of two along each axis."""
    return frames // 2 * 9
