"""Whatever vLLM is given as media -> the parts that our processor reads."""

# pyright: reportUnknownLambdaType=false
# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from vllm.multimodal.media import MediaWithBytes
from vllm.multimodal.parse import MultiModalDataParser, ProcessorBatchItems

from videollama2.processing.options import as_images
from videollama2.processing.parts import (
    AudioInput,
    ImageInput,
    LoadedMedia,
    Part,
    VideoInput,
    as_part,
)
from videollama2.processing.video_processor import as_videos

_Parser: Any = MultiModalDataParser
_Items: Any = ProcessorBatchItems
_Wrapped: Any = MediaWithBytes
_PARTS = (VideoInput, ImageInput, AudioInput, LoadedMedia)


class Parts(_Items):
    """Parts of one kind; None stands for what vLLM holds already."""

    def __init__(self, kind: str, parts: Sequence[Part | None]) -> None:
        super().__init__(list(parts), kind)

    def get_item_for_hash(self, index: int) -> object:
        """What tells this medium apart from every other."""
        part: Part | None = self.data[index]
        return None if part is None else identity(part)


class PartsParser(_Parser):
    """Takes what vLLM takes, and what our own processor takes: paths, bytes, parts, loaded media.

    A video that is not a `VideoInput` is silent unless `use_audio_in_video` is set.
    """

    def _get_subparsers(self) -> dict[str, Callable[[Any], Parts]]:
        return {
            "video": lambda data: Parts("video", [_video(one) for one in _videos(data)]),
            "image": lambda data: Parts("image", [_image(one) for one in as_images(data)]),
            "audio": lambda data: Parts("audio", [_audio(one) for one in _sounds(data)]),
        }


def identity(part: Part) -> dict[str, Any]:
    """What vLLM hashes of a part: contents, or a file's path, size and time of change."""
    if isinstance(part, LoadedMedia):
        return {"kind": part.kind, "pixels": part.pixels, "features": part.features}
    source: Any = part.source
    if isinstance(source, (str, Path)) and os.path.isfile(source):
        status = os.stat(source)
        source = f"{os.path.abspath(source)} {status.st_size} {status.st_mtime_ns}"
    options = {one.name: getattr(part, one.name) for one in fields(part) if one.name != "source"}
    return {"kind": type(part).__name__, "source": source, "options": repr(options)}


def _videos(data: Any) -> list[Any]:
    if _with_metadata(data) or isinstance(data, _Wrapped):
        return [data]
    if isinstance(data, list) and any(_with_metadata(one) or one is None for one in data):
        return data
    return as_videos(data)


def _with_metadata(value: Any) -> bool:
    """Whether a value is vLLM's (frames, metadata)."""
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], dict)


def _video(given: Any) -> Part | None:
    if given is None or isinstance(given, _PARTS):
        return None if given is None else as_part("video", given)
    metadata: dict[str, Any] = {}
    if isinstance(given, _Wrapped):
        given = given.media
    if _with_metadata(given):
        given, metadata = given
    frames = metadata.get("num_frames")
    return VideoInput(given, num_frames=frames, sound=False)


def _image(given: Any) -> Part | None:
    if given is None or isinstance(given, _PARTS):
        return None if given is None else as_part("image", given)
    if isinstance(given, _Wrapped):  # the file itself: our reader turns it as its EXIF says
        return ImageInput(given.original_bytes)
    if isinstance(given, Image.Image):
        given = np.asarray(given.convert("RGB"))
    return ImageInput(given)


def _sounds(data: Any) -> list[Any]:
    single = isinstance(data, (tuple, np.ndarray, torch.Tensor, str, bytes, Path, *_PARTS))
    return [data] if single else list(data)


def _audio(given: Any) -> Part | None:
    if given is None or isinstance(given, _PARTS):
        return None if given is None else as_part("audio", given)
    if isinstance(given, (str, bytes, Path)):
        return AudioInput(given)
    if isinstance(given, tuple):
        return AudioInput(wav(np.asarray(given[0], dtype=np.float32), round(given[1])))
    return AudioInput(np.asarray(given, dtype=np.float32))


def wav(samples: np.ndarray[Any, np.dtype[np.float32]], rate: int) -> bytes:
    """Decoded samples (samples,) as a file again, unrounded: our own reader resamples it.

    Raises:
        ValueError: there are several channels, or none.
    """
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"a sound of samples is (samples,), not {samples.shape}")
    data = samples.astype("<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, 1, rate, 4 * rate, 4, 32)  # 3: floats
    return b"".join(
        [
            *(b"RIFF", struct.pack("<I", 4 + 8 + len(form) + 8 + len(data)), b"WAVE"),
            *(b"fmt ", struct.pack("<I", len(form)), form),
            *(b"data", struct.pack("<I", len(data)), data),
        ]
    )
