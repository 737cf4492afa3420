"""A decoded frame -> RGB as it is meant to be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.plane import VideoPlane
    from av.video.reformatter import VideoReformatter


class RgbConverter:
    """Makes (H, W, 3) uint8 RGB of a clip's frames, one after the other, set up once."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter: VideoReformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Convert a frame: its own colour matrix, alpha dropped, upright."""
        whole = _as_progressive(frame) if frame.interlaced_frame else frame
        # Handing a picture to threads and waiting for them takes longer than they save.
        rgb = self._reformatter.reformat(whole, format="rgb24", threads=1).to_ndarray()
        return upright(np.asarray(rgb, dtype=np.uint8), display_matrix(frame))


def _as_progressive(frame: VideoFrame) -> VideoFrame:
    """Copy an interlaced frame without saying so: libswscale would convert field by field.

    The released code's decoder, like ffmpeg by default, converts the picture as a whole.
    """
    from av.video.frame import VideoFrame

    plain = VideoFrame(frame.width, frame.height, frame.format.name)
    for source, target in zip(frame.planes, plain.planes, strict=True):
        given, taken = _rows(source), _rows(target)
        width = min(given.shape[1], taken.shape[1])
        taken[: len(given), :width] = given[: len(taken), :width]
    plain.colorspace, plain.color_range = frame.colorspace, frame.color_range
    return plain


def _rows(plane: VideoPlane) -> NDArray[np.uint8]:
    """The bytes of a plane, (rows, bytes a row with padding); writable where the plane is."""
    view = memoryview(cast("bytearray", plane))  # it has the buffer protocol
    return np.frombuffer(view, np.uint8).reshape(-1, plane.line_size)


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """Give the signs of the display matrix as (a, b, c, d), or None where there is none.

    A pixel at (x, y) is shown at (a x + c y, b x + d y); 16.16 fixed point in the file. Angles that
    are no quarter turn count as the nearest one.
    """
    from av.sidedata.sidedata import SideDataContainer, Type

    # `frame.side_data` would hold the frame and be held by it: a picture of megabytes that stays
    # until the garbage collector looks for circles.
    data = SideDataContainer(frame).get(Type.DISPLAYMATRIX)  # pyright: ignore
    if data is None:
        return None
    matrix = np.frombuffer(bytes(data), dtype=np.int32)  # pyright: ignore
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        b = c = 0
    else:
        a = d = 0
    return _sign(a), _sign(b), _sign(c), _sign(d)


def upright(rgb: NDArray[np.uint8], matrix: tuple[int, int, int, int] | None) -> NDArray[np.uint8]:
    """Turn and mirror (H, W, 3) as the display matrix says."""
    if matrix is None:
        return rgb
    a, b, c, d = matrix
    across, down = (c, b) if a == d == 0 else (a, d)
    shown = rgb.transpose(1, 0, 2) if a == d == 0 else rgb
    shown = shown[:, ::-1] if across < 0 else shown
    shown = shown[::-1] if down < 0 else shown
    return np.ascontiguousarray(shown)


def rotation(matrix: tuple[int, int, int, int] | None) -> int:
    """Degrees that the picture is turned by for showing, clockwise: 0, 90, 180 or 270."""
    if matrix is None:
        return 0
    a, b, _, _ = matrix
    if a == 0:
        return 90 if b > 0 else 270
    return 180 if a < 0 else 0


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
