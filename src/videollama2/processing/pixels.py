"""Frames -> pixel values: the geometry and normalisation that a vision tower was trained with.

PIL does the resizing because the released code did: its bicubic filter widens when it shrinks
(anti-aliasing), works on uint8 and rounds, and other resizers differ by several grey levels.

Shapes: T frames, H and W rows and columns of the tower's input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from .planes import PlaneResizer, plane_resizer
from .resize import RESAMPLINGS, resized

Resize = Literal["shortest_edge_crop", "squash"]
Geometry = Literal["square", "pad"]
Frame = npt.NDArray[np.uint8]

_FEWEST = 8  # frames of one size for which it pays to look for a quicker way
_BICUBIC = 3  # PIL's number for it, as preprocessor_config.json writes it


@dataclass(frozen=True)
class PixelSettings:
    """How a frame becomes a tower's input.

    `size` is (height, width) in pixels of what the tower takes. `resize` is how it is reached:
    CLIP and DINOv2 scale the shorter side to `shortest_edge` (`size`'s height if None) and crop
    the middle, SigLIP squashes. `geometry` "pad" first pads to a square with the mean colour, as
    the released fine-tuning did; "square" leaves the frame as it is, as released inference does.
    """

    size: tuple[int, int]
    resize: Resize
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]
    resample: int = _BICUBIC
    geometry: Geometry = "square"
    shortest_edge: int | None = None

    def __post_init__(self) -> None:
        if self.resize not in ("shortest_edge_crop", "squash"):
            raise ValueError(f"resize is {self.resize!r}; it is shortest_edge_crop or squash")
        if self.geometry not in ("square", "pad"):
            raise ValueError(f"geometry is {self.geometry!r}; it is square or pad")
        if min(self.size) < 1 or min(self.image_std) <= 0:
            raise ValueError(f"size {self.size} and image_std {self.image_std} must be positive")

    @classmethod
    def from_processor(cls, source: object, geometry: Geometry = "square") -> PixelSettings:
        """Settings out of a `preprocessor_config.json` dict or a transformers image processor.

        Raises `ValueError` where the source asks for something this file does not do.
        """
        values = _as_dict(source)
        if "resize" in values:  # our own processors' files
            return cls.from_dict(values)
        return cls(**_from_huggingface(values), geometry=geometry)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PixelSettings:
        """The inverse of `to_dict`; other keys are left alone."""
        known: dict[str, Any] = {k: v for k, v in values.items() if k in cls.__dataclass_fields__}
        known |= {k: tuple(known[k]) for k in ("image_mean", "image_std")}
        known["size"] = _height_width(known["size"])
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the size as transformers writes it."""
        height, width = self.size
        size = {"height": height, "width": width}
        means = {k: list(getattr(self, k)) for k in ("image_mean", "image_std")}
        return {**asdict(self), **means, "size": size}


def _as_dict(source: object) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return dict(cast(Mapping[str, Any], source))
    to_dict = getattr(source, "to_dict", None)
    if to_dict is None:
        raise ValueError(f"{type(source).__name__} is neither a dict nor an image processor")
    return cast(dict[str, Any], to_dict())


def _height_width(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    if isinstance(value, Mapping) and "height" in value and "width" in value:
        sides = cast(Mapping[str, int], value)
        return int(sides["height"]), int(sides["width"])
    raise ValueError(f"an image size of {value!r} is not understood; give height and width")


def _from_huggingface(values: dict[str, Any]) -> dict[str, Any]:
    factor = float(values.get("rescale_factor", 1 / 255))
    for switch in ("do_resize", "do_rescale", "do_normalize"):
        if values.get(switch, True) is False:
            raise ValueError(f"an image processor with {switch} off is not supported")
    if abs(factor * 255 - 1) > 1e-6:
        raise ValueError(f"an image processor with rescale_factor {factor} is not supported")
    size: Any = values.get("size", 224)
    resample = values.get("resample")  # 0 is a filter too
    out: dict[str, Any] = {
        "image_mean": tuple(values["image_mean"]),
        "image_std": tuple(values["image_std"]),
        "resample": _BICUBIC if resample is None else int(resample),
    }
    # An int size means the shorter side in configs older than transformers 4.26.
    sides = cast(Mapping[str, Any], size if isinstance(size, Mapping) else {"shortest_edge": size})
    edge: Any = sides.get("shortest_edge")
    crops = bool(values.get("do_center_crop", "crop_size" in values))
    if edge is not None and crops:
        crop = _height_width(values.get("crop_size", edge))
        return {**out, "size": crop, "resize": "shortest_edge_crop", "shortest_edge": int(edge)}
    if crops:
        raise ValueError(f"cropping after a resize to {size!r} is not supported")
    return {**out, "size": _height_width(size), "resize": "squash"}


def black_frame(like: Frame) -> Frame:
    """The frame the released code appends to a clip that is too short.

    Its sides are those of `like` (H, W, 3) swapped, as released: this shows under "pad".
    """
    height, width = like.shape[:2]
    return np.zeros((width, height, 3), dtype=np.uint8)


def pad_to_square(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """`image` in the middle of the smallest square that holds it, the rest filled."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


def _checked(frame: Frame) -> Frame:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
        raise ValueError(f"a frame is (H, W, 3) uint8, not {frame.shape} {frame.dtype}")
    return frame


def _resized(frame: Frame, settings: PixelSettings) -> Image.Image:
    """One frame at the tower's size."""
    image = Image.fromarray(frame)
    if settings.geometry == "pad":
        red, green, blue = (int(value * 255) for value in settings.image_mean)
        image = pad_to_square(image, (red, green, blue))
    height, width = settings.size
    resample = Image.Resampling(settings.resample)
    if settings.resize == "squash":
        return image.resize((width, height), resample)
    edge = settings.shortest_edge or height
    short = min(image.size)
    scaled = (int(edge * image.width / short), int(edge * image.height / short))
    image = image.resize(scaled, resample)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    # Outside the image PIL's crop is black, as the released crop's zero padding.
    return image.crop((left, top, left + width, top + height))


def to_pixels(
    frames: Sequence[Frame], settings: PixelSettings, device: torch.device | None = None
) -> torch.Tensor:
    """Frames, each (H, W, 3) uint8 RGB of any size -> float32 (T, 3, H, W), normalised.

    On a GPU as `device` it does Pillow's arithmetic itself, to the same numbers.
    Raises `ValueError` without frames, or for a frame of another form.
    """
    if not len(frames):
        raise ValueError("no frames: there is nothing to make pixel values of")
    if device is not None and device.type != "cpu" and settings.resample in RESAMPLINGS:
        return to_pixels_on(device, frames, settings)
    height, width = settings.size
    pixels = np.empty((len(frames), 3, height, width), dtype=np.float32)
    workers = min(len(frames), torch.get_num_threads())
    shares = [range(first, len(frames), workers) for first in range(workers)]

    def fill(share: range) -> None:
        resize = _resizer_for(frames, settings)
        for place in share:
            _fill(_checked(frames[place]), settings, resize, pixels[place])

    if workers == 1:
        fill(shares[0])
    else:
        with ThreadPoolExecutor(workers) as pool:  # Pillow and numpy let go of the lock
            for _ in pool.map(fill, shares):
                pass
    return _tensor(pixels)


def _resizer_for(frames: Sequence[Frame], settings: PixelSettings) -> PlaneResizer | None:
    """What is quicker than Pillow for small frames of one size; to find out takes a few."""
    sizes = {frame.shape for frame in frames}
    if len(frames) < _FEWEST or len(sizes) > 1 or settings.resize != "squash":
        return None
    height, width, _ = _checked(frames[0]).shape
    if settings.geometry == "pad" and height != width:
        return None
    return plane_resizer((height, width), settings.size, settings.resample)


def _fill(
    frame: Frame,
    settings: PixelSettings,
    resize: PlaneResizer | None,
    into: npt.NDArray[np.float32],
) -> None:
    """(H, W, 3) levels -> (3, H', W') normalised, each plane small enough to stay near."""
    planes = _resized(frame, settings).split() if resize is None else ()
    for channel, values in enumerate(into):
        levels = np.asarray(planes[channel]) if resize is None else resize(frame[..., channel])
        mean = np.float32(settings.image_mean[channel])
        std = np.float32(settings.image_std[channel])
        is_power = np.frexp(std)[0] == 0.5  # of two: dividing by it at once rounds nothing more
        scale = std if is_power else np.float32(1)
        np.divide(levels, np.float32(255) * scale, out=values)
        values -= mean / scale
        if not is_power:
            values /= std


def to_pixels_on(
    device: torch.device, frames: Sequence[Frame], settings: PixelSettings
) -> torch.Tensor:
    """As `to_pixels`, with products of matrices on a device."""
    levels = torch.stack(
        [_resized_on(device, _checked(frame), settings) for frame in frames]
    )  # (T, 3, H, W)
    table = _tensor(_normalised_levels(settings)).to(device)
    channels = [table[channel][levels[:, channel].long()] for channel in range(3)]
    return torch.stack(channels, 1)


def _resized_on(device: torch.device, frame: Frame, settings: PixelSettings) -> torch.Tensor:
    """One frame at the tower's size, (3, H, W) uint8."""
    height, width = settings.size
    x_hwc = _tensor(frame).to(device)
    if settings.geometry == "pad":
        x_hwc = _padded_on(x_hwc, settings)
    if settings.resize == "squash":
        return resized(x_hwc, height, width, settings.resample)
    edge, short = settings.shortest_edge or height, min(x_hwc.shape[:2])
    rows, columns = (int(edge * side / short) for side in x_hwc.shape[:2])
    x_chw = resized(x_hwc, rows, columns, settings.resample)
    top, left = (rows - height) // 2, (columns - width) // 2
    right, bottom = width - columns + left, height - rows + top
    # Negative padding crops; what is outside of the image is black.
    return torch.nn.functional.pad(x_chw, (-left, right, -top, bottom))


def _padded_on(x_hwc: torch.Tensor, settings: PixelSettings) -> torch.Tensor:
    height, width = x_hwc.shape[:2]
    if height == width:
        return x_hwc
    side = max(height, width)
    colour = x_hwc.new_tensor([int(value * 255) for value in settings.image_mean])
    square = colour.expand(side, side, 3).clone()
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = x_hwc
    return square


def _normalised_levels(settings: PixelSettings) -> npt.NDArray[np.float32]:
    """(3, 256): what each grey level of each channel becomes."""
    mean = torch.tensor(settings.image_mean).view(3, 1)
    std = torch.tensor(settings.image_std).view(3, 1)
    levels = torch.arange(256, dtype=torch.float32).expand(3, 256).clone().div_(255)
    return levels.sub_(mean).div_(std).numpy()


_tensor = cast("Callable[[Any], torch.Tensor]", torch.from_numpy)  # pyright: ignore[reportUnknownMemberType]
