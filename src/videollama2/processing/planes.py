"""Pillow's resize of frames not larger than what a tower takes: the same bytes in half the time.

Its sums of 8-bit levels times weights of 22 fraction bits (`resize.py`) are computed as products of
matrices in float32, exactly: each weight is a coarse and a fine part, so that no sum of either
needs more than the 24 bits that float32 holds. A place after a pass depends on few before it (four
where it enlarges); places are taken in blocks whose weights are a small matrix over a short window
of the side. numpy multiplies, as torch may be told to round float32 in products.

Shapes: N places of a side before a pass and M after it, in n blocks of B with windows of K; H rows.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from .resize import FRACTION_BITS, RESAMPLINGS, weights

Floats = npt.NDArray[np.float32]

_FINE_BITS = 9
_LEVEL = 2.0 ** (FRACTION_BITS - _FINE_BITS)  # in units of the last place of coarse parts
# A little more than one over that: halves, which are the only sums to be so near to a tie, come
# out above it and are rounded up, as Pillow does. No other sum of below 2**22 units crosses one.
_TO_LEVELS = np.float32((1 + 2.0**-22) / _LEVEL)
_ACROSS_BLOCKS, _DOWN_BLOCKS = range(16, 65, 16), range(4, 17)
_BLACK, _WHITE = np.float32(0), np.float32(255)


@dataclass(frozen=True, eq=False)
class _Pass:
    """From N places to M: block b reads places `b * step + offset` and on of a side.

    `coarse` and `fine` (n, B, K) in units of which `_LEVEL` are a level.
    """

    before: int
    step: int
    offset: int
    coarse: Floats
    fine: Floats

    @property
    def blocks(self) -> tuple[int, int, int]:
        """n, B and K."""
        count, block, window = self.coarse.shape
        return count, block, window

    @property
    def made(self) -> int:
        """n x B: those places, and after them some that nobody asked for."""
        return self.blocks[0] * self.blocks[1]

    @property
    def length(self) -> int:
        """Places of a side that is wide enough for every window; those outside of it are 0."""
        return (self.blocks[0] - 1) * self.step + self.blocks[2]

    @property
    def inside(self) -> slice:
        """Where in that length the side lies that windows see."""
        return slice(max(-self.offset, 0), min(self.before - self.offset, self.length))

    @property
    def seen(self) -> slice:
        """The places of the side that lie there."""
        return slice(max(self.offset, 0), min(self.before, self.offset + self.length))


def _across_cost(count: int, block: int, window: int) -> int:
    """Of blocks whose places lie side by side, sixteen of them in a register."""
    return count * -(-block // 16) * (window + 16)


def _down_cost(count: int, block: int, window: int) -> int:
    """Of blocks whose places lie one below the other."""
    return count * (block * (window + 3) + 22)


@functools.lru_cache(maxsize=64)
def _pass(before: int, after: int, resample: int, across: bool) -> _Pass:
    dense = weights(before, after, resample).numpy()
    counts = dense != 0
    first, stop = counts.argmax(1), before - counts[:, ::-1].argmax(1)
    plans: list[tuple[int, int, int, int, int]] = []
    for block in _ACROSS_BLOCKS if across else _DOWN_BLOCKS:
        starts = np.arange(0, after, block)
        step = block * before // after
        begins = np.minimum.reduceat(first, starts) - np.arange(len(starts)) * step
        ends = np.maximum.reduceat(stop, starts) - np.arange(len(starts)) * step
        offset, window = int(begins.min()), int(ends.max() - begins.min())
        cost = (_across_cost if across else _down_cost)(len(starts), block, window)
        plans.append((cost, block, step, offset, window))
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
    return _Pass(before, step, offset, coarse.astype(np.float32), fine.astype(np.float32))


class PlaneResizer:
    """Resizes planes (H, W) of one size to (height, width), in memory that it keeps.

    A plane at a time and all there is to do with it: it stays near the processor.
    """

    def __init__(self, before: tuple[int, int], after: tuple[int, int], resample: int) -> None:
        across = _pass(before[1], after[1], resample, across=True)
        down = _pass(before[0], after[0], resample, across=False)
        rows = np.zeros((before[0], across.length), np.float32)
        columns = np.zeros((down.length, across.made), np.float32)
        fine = np.empty((max(before[0], down.made), across.made), np.float32)
        seen = columns[down.inside]
        self._inside, self._seen = rows[:, across.inside], across.seen
        self._across = seen, fine[: len(seen)]
        windows = _windows(rows.T, across).transpose(0, 2, 1)[:, down.seen]  # (n, H, K)
        self._across_products = [
            (windows, part.transpose(0, 2, 1), _by_columns(sums, across))
            for part, sums in zip((across.coarse, across.fine), self._across, strict=True)
        ]
        self._down = np.empty((down.made, across.made), np.float32), fine[: down.made]
        windows = _windows(columns, down)  # (n, K, columns)
        self._down_products = [
            (part, windows, sums.reshape(*part.shape[:2], -1))
            for part, sums in zip((down.coarse, down.fine), self._down, strict=True)
        ]
        self._found = self._down[0][: after[0], : after[1]]

    def __call__(self, plane: npt.NDArray[np.uint8]) -> Floats:
        """The levels (height, width), 0 to 255, that Pillow makes of a plane (H, W).

        They stand in memory that the next plane takes.
        """
        self._inside[...] = plane[:, self._seen]
        for left, right, out in self._across_products:
            np.matmul(left, right, out=out)
        _levels(*self._across)
        for left, right, out in self._down_products:
            np.matmul(left, right, out=out)
        _levels(*self._down)
        return self._found


def _levels(coarse: Floats, fine: Floats) -> None:
    """Sums, rounded as Pillow does and cut off at black and white: in place of the coarse ones."""
    np.floor(fine, out=fine)
    coarse += fine
    coarse *= _TO_LEVELS
    np.rint(coarse, out=coarse)
    coarse.clip(_BLACK, _WHITE, out=coarse)


def _windows(side_first: Floats, over: _Pass) -> Floats:
    """A view (length, X) -> (n, K, X) of what each block reads."""
    count, _, window = over.blocks
    first, second = side_first.strides
    return np.lib.stride_tricks.as_strided(
        side_first,
        (count, window, side_first.shape[1]),
        (first * over.step, first, second),
        writeable=False,
    )


def _by_columns(sums: Floats, over: _Pass) -> Floats:
    """A view (X, n B) -> (n, X, B)."""
    count, block, _ = over.blocks
    return sums.reshape(len(sums), count, block).transpose(1, 0, 2)


def plane_resizer(
    before: tuple[int, int], after: tuple[int, int], resample: int
) -> PlaneResizer | None:
    """What resizes as the Pillow that is installed; None where Pillow itself has to be asked.

    Which pass it makes first and how it rounds is its own affair: this is used for sizes at which
    noise came out the same.
    """
    gains = before[0] * before[1] <= after[0] * after[1]  # larger ones take about as long
    if resample not in RESAMPLINGS or not gains or not _is_pillows(before, after, resample):
        return None
    return PlaneResizer(before, after, resample)


@functools.lru_cache(maxsize=64)
def _is_pillows(before: tuple[int, int], after: tuple[int, int], resample: int) -> bool:
    random = np.random.default_rng(0)
    resize = PlaneResizer(before, after, resample)
    for levels in (256, 2):  # hard edges overshoot most
        grey = random.integers(levels, size=(*before, 3), dtype=np.int64)
        noise = (grey * (255 // (levels - 1))).astype(np.uint8)
        wanted = Image.fromarray(noise).resize((after[1], after[0]), Image.Resampling(resample))
        for channel, plane in enumerate(np.asarray(wanted).transpose(2, 0, 1)):
            if not np.array_equal(resize(noise[..., channel]), plane):
                return False
    return True
