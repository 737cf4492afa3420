"""How many tokens a medium becomes: plain numbers, known before any encoder runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

_LINEAR_TYPES = ("linear", "mlp{n}x_gelu")


@dataclass(frozen=True)
class ConnectorShape:
    """What a connector type does to a grid of (time, height, width) features.

    Source: released `model/projector.py`; `downsample` is both kernel and stride of the sampler.
    """

    sampler: str  # "conv", "pool" or "mean" (over time)
    downsample: tuple[int, int, int] = (2, 2, 2)
    padding: int = 0
    depth: int = 4
    readout_depth: int = 2

    def output_grid(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """(time, height, width) after the connector.

        Raises:
            ValueError: the clip has fewer frames (or the grid fewer rows) than the sampler takes.
        """
        if self.sampler == "mean":
            return 1, height, width
        names = ("frames", "rows", "columns")
        sizes = (frames, height, width)
        out: list[int] = []
        for name, size, step in zip(names, sizes, self.downsample, strict=True):
            if size + 2 * self.padding < step:
                raise ValueError(
                    f"this connector joins {step} {name} into one and was given {size}: "
                    f"give at least {step - 2 * self.padding} {name}"
                )
            out.append((size + 2 * self.padding - step) // step + 1)
        return out[0], out[1], out[2]

    @property
    def min_frames(self) -> int:
        """The fewest frames that the sampler takes."""
        return 1 if self.sampler == "mean" else max(1, self.downsample[0] - 2 * self.padding)


_SHAPES = {
    "stc_connector": ConnectorShape("conv", padding=1),
    "stc_connector_v35": ConnectorShape("conv"),
    "stp_connector": ConnectorShape("pool"),
    "spatial_conv": ConnectorShape("conv", downsample=(1, 2, 2), padding=1, depth=0),
    "spatial_pool": ConnectorShape("pool", downsample=(1, 2, 2), depth=0),
    "linear": ConnectorShape("mean", downsample=(1, 1, 1), depth=0, readout_depth=1),
}


def mlp_depth(projector_type: str) -> int | None:
    """The n of `mlp{n}x_gelu`, 1 for `linear`, None for any other name."""
    if projector_type == "linear":
        return 1
    middle = projector_type.removeprefix("mlp").removesuffix("x_gelu")
    if projector_type == f"mlp{middle}x_gelu" and middle.isdecimal() and int(middle) > 0:
        return int(middle)
    return None


def connector_shape(
    connector_type: str,
    downsample: tuple[int, int, int] | None = None,
    depth: int | None = None,
    readout_depth: int | None = None,
) -> ConnectorShape:
    """The shape of a connector type, with its released values where an argument is None.

    Raises:
        ValueError: no such connector type.
    """
    mlp = mlp_depth(connector_type)
    if mlp is not None:
        return ConnectorShape("mean", (1, 1, 1), depth=0, readout_depth=mlp)
    if connector_type not in _SHAPES:
        known = ", ".join([*(name for name in _SHAPES if name != "linear"), *_LINEAR_TYPES])
        raise ValueError(f"no connector is called {connector_type!r}: choose one of {known}")
    shape = _SHAPES[connector_type]
    return ConnectorShape(
        shape.sampler,
        shape.downsample if downsample is None else downsample,
        shape.padding,
        shape.depth if depth is None else depth,
        shape.readout_depth if readout_depth is None else readout_depth,
    )


def config_connector_shape(connector_config: Any) -> ConnectorShape:
    """The shape that a `ConnectorConfig` describes."""
    downsample = connector_config.downsample
    return connector_shape(
        connector_config.connector_type,
        None if downsample is None else (downsample[0], downsample[1], downsample[2]),
        connector_config.depth,
        connector_config.readout_depth,
    )


def vision_grid(
    config: Any, height: int | None = None, width: int | None = None
) -> tuple[int, int]:
    """(rows, columns) of patches of a frame of `height` x `width` pixels; None: the config's."""
    vision = config.vision_config
    patch = int(vision.patch_size)
    side = getattr(vision, "image_size", None)
    if side is None:  # SigLIP 2 (NaFlex) is told by its number of patches alone
        side = int(int(vision.num_patches) ** 0.5) * patch
    sizes = cast("Sequence[Any]", side if isinstance(side, (list, tuple)) else (side, side))
    return (height or int(sizes[0])) // patch, (width or int(sizes[1])) // patch


def num_video_tokens(
    config: Any, num_frames: int, height: int | None = None, width: int | None = None
) -> int:
    """Tokens of a video of `num_frames` frames (official-size examples: 845, 1352)."""
    rows, columns = vision_grid(config, height, width)
    time, rows, columns = config_connector_shape(config.connector_config).output_grid(
        num_frames, rows, columns
    )
    return time * rows * columns


def num_image_tokens(config: Any, height: int | None = None, width: int | None = None) -> int:
    """Tokens of an image, which runs as `config.num_frames` equal frames (as released)."""
    return num_video_tokens(config, int(config.num_frames), height, width)


def num_audio_tokens(audio_config: Any, num_fbank_frames: int) -> int:
    """Tokens of a sound of so many filter bank frames: whole patches in time times in frequency."""
    patch = int(audio_config.input_patch_size)
    return (num_fbank_frames // patch) * (int(audio_config.num_mel_bins) // patch)
