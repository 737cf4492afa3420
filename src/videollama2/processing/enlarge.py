"""Pillow's resize of frames smaller than a tower takes: the same bytes in two thirds of the time.

Its sums of 8-bit levels times weights of 22 fraction bits (`resize.py`) are computed as products of
matrices in float32, exactly: each weight is a coarse and a fine part, so that no sum of either
needs more than the 24 bits that float32 holds. A place after a pass depends on four before it;
places are taken in blocks whose weights are a small matrix over a short window of the side. numpy
multiplies, as torch may be told to round float32 in products.

Shapes: N places of a side before a pass and M after it, in n blocks of B with windows of K; R rows.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from .resize import FRACTION_BITS, RESAMPLINGS, weights

Floats = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8]

_FINE_BITS = 9
_FINE = np.float32(
    2.0 ** (_FINE_BITS - FRACTION_BITS)
)  # the last place of a coarse part, in levels
_BLOCKS = range(4, 33)
_CALL, _PLACE = 4, 3  # what a block and a window cost besides their products, in places
_GAINS = 1.2  # times a side that are quicker here; nearer to its own size Pillow is
_HALF, _WHITE = np.float32(0.5), np.float32(255)


@dataclass(frozen=True, eq=False)
class _Pass:
    """From N places to M: block b reads places `b * step + offset` and on of a side.

    `weights` (n, 2 B, K): coarse parts in levels above fine ones in units of `_FINE`.
    """

    before: int
    after: int
    block: int
    step: int
    offset: int
    weights: Floats

    @property
    def length(self) -> int:
        """Places of a side that is wide enough for every window; those outside of it are 0."""
        return (len(self.weights) - 1) * self.step + self.weights.shape[2]

    @property
    def inside(self) -> slice:
        """Where in that length the side lies that windows see."""
        return slice(max(-self.offset, 0), min(self.before - self.offset, self.length))

    @property
    def seen(self) -> slice:
        """The places of the side that lie there."""
        return slice(max(self.offset, 0), min(self.before, self.offset + self.length))

    def sums(self, rows_rl: Floats, into: Floats) -> Floats:
        """Rows (R, length) -> (n, B, R) levels, rounded as Pillow does and not yet cut off.

        `into` (n, 2 B, R) is what is worked in.
        """
        unit = rows_rl.itemsize
        windows_nkr = np.lib.stride_tricks.as_strided(
            rows_rl,
            (len(self.weights), self.weights.shape[2], len(rows_rl)),
            (unit * self.step, unit, unit * self.length),
            writeable=False,
        )
        np.matmul(self.weights, windows_nkr, out=into)
        coarse, fine = into[:, : self.block], into[:, self.block :]
        np.floor(fine, out=fine)
        fine *= _FINE
        coarse += fine
        coarse += _HALF
        return np.floor(coarse, out=coarse)


@functools.lru_cache(maxsize=32)
def _pass(before: int, after: int, resample: int) -> _Pass:
    dense = weights(before, after, resample).numpy()
    counts = dense != 0
    first, stop = counts.argmax(1), before - counts[:, ::-1].argmax(1)
    plans: list[tuple[int, int, int, int, int]] = []
    for block in _BLOCKS:
        starts = np.arange(0, after, block)
        step = block * before // after
        begins = np.minimum.reduceat(first, starts) - np.arange(len(starts)) * step
        ends = np.maximum.reduceat(stop, starts) - np.arange(len(starts)) * step
        offset, window = int(begins.min()), int(ends.max() - begins.min())
        plans.append(
            (len(starts) * (block + _CALL) * (window + _PLACE), block, step, offset, window)
        )
    _, block, step, offset, window = min(plans)
    found = np.zeros((-(-after // block), block, window))
    for place in range(after):
        begin = place // block * step + offset
        kept = slice(max(begin, 0), min(begin + window, before))
        found[place // block, place % block, kept.start - begin : kept.stop - begin] = dense[
            place, kept
        ]
    coarse = np.round(found / 2**_FINE_BITS)
    fine = found / 2**_FINE_BITS - coarse
    both = np.concatenate([coarse * _FINE, fine], axis=1).astype(np.float32)
    return _Pass(before, after, block, step, offset, both)


class Enlarger:
    """Enlarges frames (H, W, 3) of one size to (height, width), in memory that it keeps."""

    def __init__(self, before: tuple[int, int], after: tuple[int, int], resample: int) -> None:
        self._after = after
        self._across = across = _pass(before[1], after[1], resample)
        self._down = down = _pass(before[0], after[0], resample)
        columns = len(across.weights) * across.block
        self._rows = np.zeros((3, before[0], across.length), np.float32)
        self._columns = np.zeros((3, columns, down.length), np.float32)
        self._across_sums = _empty(across, 3 * before[0])
        self._down_sums = _empty(down, 3 * columns)

    def __call__(self, frame: Frame, into: Floats) -> None:
        """Fill (3, height, width) with the levels, 0 to 255, that Pillow makes of `frame`."""
        across, down = self._across, self._down
        self._rows[:, :, across.inside] = frame.transpose(2, 0, 1)[:, :, across.seen]
        found = across.sums(self._rows.reshape(-1, across.length), self._across_sums)
        np.clip(found, 0, _WHITE, out=found)
        shown = found.reshape(*found.shape[:2], 3, -1)[..., down.seen].transpose(2, 0, 1, 3)
        windows = self._columns.reshape(3, *found.shape[:2], down.length)
        windows[..., down.inside] = shown
        found = down.sums(self._columns.reshape(-1, down.length), self._down_sums)
        height, width = self._after
        whole = height // down.block
        found = found.reshape(*found.shape[:2], 3, -1)[..., :width].transpose(2, 0, 1, 3)
        rows = whole * down.block
        into[:, :rows].reshape(3, whole, down.block, width)[...] = found[:, :whole]
        if rows < height:
            into[:, rows:] = found[:, whole, : height - rows]
        for plane in into:
            np.clip(plane, 0, _WHITE, out=plane)


def _empty(over: _Pass, rows: int) -> Floats:
    return np.empty((*over.weights.shape[:2], rows), np.float32)


def enlarger(before: tuple[int, int], after: tuple[int, int], resample: int) -> Enlarger | None:
    """What enlarges as the Pillow that is installed; None where Pillow itself has to be asked.

    Which pass it makes first and how it rounds is its own affair: this is used for sizes at which
    noise came out the same.
    """
    gains = all(_GAINS * old <= new for old, new in zip(before, after, strict=True))
    if resample not in RESAMPLINGS or not gains or not _is_pillows(before, after, resample):
        return None
    return Enlarger(before, after, resample)


@functools.lru_cache(maxsize=64)
def _is_pillows(before: tuple[int, int], after: tuple[int, int], resample: int) -> bool:
    random = np.random.default_rng(0)
    found = np.empty((3, *after), np.float32)
    enlarge = Enlarger(before, after, resample)
    for levels in (np.arange(256), np.array([0, 255])):  # hard edges overshoot most
        noise = random.choice(levels, (*before, 3)).astype(np.uint8)
        wanted = Image.fromarray(noise).resize((after[1], after[0]), Image.Resampling(resample))
        enlarge(noise, found)
        if not np.array_equal(found, np.asarray(wanted).transpose(2, 0, 1)):
            return False
    return True
