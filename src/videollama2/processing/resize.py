"""Pillow's resize as products of matrices, for a GPU: the same bytes, many rows at a time.

A pass over rows or columns adds up 8-bit levels times weights of 22 fraction bits and rounds to 8
bits again (`libImaging/Resample.c`). Doubles hold these sums exactly. Which pass comes first is
Pillow's choice, another in each version: it is asked, once for each pair of sizes.

Shapes: H and W rows and columns of a frame, N places of a side before a pass and M after it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

FRACTION_BITS = 22
_PROBES = 50


def _bicubic(x: float) -> float:
    a, x = -0.5, abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def _bilinear(x: float) -> float:
    return max(0.0, 1 - abs(x))


# By Pillow's numbers: the filter, and how far it reaches.
_FILTERS: dict[int, tuple[Callable[[float], float], float]] = {
    2: (_bilinear, 1.0),
    3: (_bicubic, 2.0),
}
RESAMPLINGS = frozenset(_FILTERS)


@functools.lru_cache(maxsize=32)
def weights(before: int, after: int, resample: int) -> Tensor:
    """(M, N) whole numbers as doubles: how much each place before counts for each after."""
    filter_, reach = _FILTERS[resample]
    scale = before / after
    stretch = max(scale, 1.0)
    found = torch.zeros(after, before, dtype=torch.float64)
    for place in range(after):
        centre = (place + 0.5) * scale
        first = max(0, int(centre - reach * stretch + 0.5))
        stop = min(before, int(centre + reach * stretch + 0.5))
        row = [filter_((x - centre + 0.5) / stretch) for x in range(first, stop)]
        total = sum(row)
        whole = [math.trunc(math.copysign(0.5, k) + k / total * 2**FRACTION_BITS) for k in row]
        found[place, first:stop] = torch.tensor(whole, dtype=torch.float64)
    return found


def resized(frame_HWC: Tensor, height: int, width: int, resample: int) -> Tensor:
    """(H, W, 3) uint8 -> (3, height, width) uint8, on its device, as Pillow resizes it."""
    before = (int(frame_HWC.shape[0]), int(frame_HWC.shape[1]))
    first = _rows_first(before, (height, width), resample)
    return _passes(frame_HWC, height, width, resample, rows_first=first)


@functools.lru_cache(maxsize=64)
def _rows_first(before: tuple[int, int], after: tuple[int, int], resample: int) -> bool:
    """Whether Pillow resizes each row before each column."""
    untyped: Any = torch
    for seed in range(_PROBES):
        noise = np.random.default_rng(seed).integers(0, 256, (*before, 3), dtype=np.uint8)
        picture = Image.fromarray(noise)
        wanted = picture.resize((after[1], after[0]), Image.Resampling(resample))
        frame: Tensor = untyped.from_numpy(noise)
        wanted_chw = np.asarray(wanted).transpose(2, 0, 1)
        found = [
            bool(np.array_equal(_passes(frame, *after, resample, rows_first=first), wanted_chw))
            for first in (True, False)
        ]
        if found[0] != found[1]:
            return found[0]
    return True  # so small that both give the same


def _passes(
    frame_hwc: Tensor, height: int, width: int, resample: int, *, rows_first: bool
) -> Tensor:
    x_chw = frame_hwc.permute(2, 0, 1).to(torch.float64)
    for over_rows in (rows_first, not rows_first):
        if over_rows and width != x_chw.shape[2]:
            x_chw = _rounded(x_chw @ _on(x_chw.device, x_chw.shape[2], width, resample).T)
        if not over_rows and height != x_chw.shape[1]:
            x_chw = _rounded(_on(x_chw.device, x_chw.shape[1], height, resample) @ x_chw)
    return x_chw.to(torch.uint8)


@functools.lru_cache(maxsize=32)
def _on(device: torch.device, before: int, after: int, resample: int) -> Tensor:
    """`weights` where they are needed: a clip's frames share them."""
    return weights(before, after, resample).to(device)


def _rounded(sums: Tensor) -> Tensor:
    return ((sums + 2 ** (FRACTION_BITS - 1)) / 2**FRACTION_BITS).floor().clamp(0, 255)
