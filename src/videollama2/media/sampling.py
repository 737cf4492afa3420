"""Which frames and which stretches of sound are taken: arithmetic only, as released.

Sources: the released `mm_utils.frame_sample`, `process_video` and `process_audio_from_video`.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

MAX_FRAMES = 32
"""The released cut: fps sampling and lists of frames keep the first 32."""


def uniform_indices(total: int, num_frames: int) -> list[int]:
    """The middle of each of `num_frames` equal segments of `total` frames.

    index_i = round((total - 1) / num_frames * (i + 1/2) + 1e-6), halves to even. A clip shorter
    than asked repeats indices. Raises ValueError where either number is below one.
    """
    if total < 1 or num_frames < 1:
        raise ValueError(f"uniform sampling needs frames, got {num_frames} of {total}")
    segment = float(total - 1) / num_frames
    return [int(np.round((segment * i + segment * (i + 1)) / 2 + 1e-6)) for i in range(num_frames)]


def fps_indices(total: int, fps: float, max_frames: int | None = MAX_FRAMES) -> list[int]:
    """One frame a second: step = min(floor(fps), total), from step // 2 on, the first `max_frames`.

    The released code fails below one frame a second (a step of zero); here the step is then one
    frame. Raises ValueError where there is no frame or no rate.
    """
    if total < 1 or not fps > 0:
        raise ValueError(f"fps sampling needs frames and a rate, got {total} at {fps}")
    step = max(int(min(fps // 1, total)), 1)
    return list(range(step // 2, total, step))[:max_frames]


def frame_range(
    total: int, fps: float, start_s: float | None, end_s: float | None
) -> tuple[int, int]:
    """First and last frame (inclusive) of a time range, by the released rule.

    With both given: negatives become 0, swapped where start > end, end = start + 1 where equal.
    first = max(int(start * fps) - 1, 0), last = min(int(end * fps) - 1, total - 1). The result may
    hold nothing (first > last): the caller decides what that means.
    """
    if start_s is not None and end_s is not None:
        start_s, end_s = max(start_s, 0.0), max(end_s, 0.0)
        if start_s > end_s:
            start_s, end_s = end_s, start_s
        elif start_s == end_s:
            end_s = start_s + 1
    first = 0 if start_s is None else max(int(start_s * fps) - 1, 0)
    last = total - 1 if end_s is None else min(int(end_s * fps) - 1, total - 1)
    return first, last


def soundtrack_slices(
    samples: int, sampling_rate: int = 16_000, clips: int = 8, clip_s: float = 2.0
) -> list[tuple[int, int]]:
    """The released windows over a soundtrack of `samples` samples: (first, past the last).

    Clip i starts at i * max(duration - clip_s, 0) / clips seconds; a slice may end past the
    samples. The last 1/clips of a long soundtrack is never heard, as released.
    """
    # Seconds are a float and the division exact, as there: 155,200 samples start at 15,399.
    last_start = Fraction(max(samples / sampling_rate - clip_s, 0.0)) / clips
    slices: list[tuple[int, int]] = []
    for i in range(clips):
        start = last_start * i
        stop = start + Fraction(clip_s)
        slices.append((math.floor(start * sampling_rate), math.floor(stop * sampling_rate)))
    return slices
