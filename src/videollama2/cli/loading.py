"""Opening media and loading models for commands, quietly and in the cheapest order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from videollama2.cli.console import settle_output, working
from videollama2.cli.options import Dtype, Quantize
from videollama2.cli.threads import settle_threads

if TYPE_CHECKING:
    from videollama2.assistant import VideoLlama2


def open_media(paths: Sequence[str]) -> list[Any]:
    """The media as sources, each known to be there and to be a medium, before a model is loaded.

    Raises:
        MediaError: one is missing, empty or no medium.
    """
    from videollama2.media.probe import probe
    from videollama2.media.source import open_source

    settle_output()
    sources = [open_source(path) for path in paths]
    for source in sources:
        probe(source)
    return sources


def load_assistant(
    model: str,
    device: str | None,
    dtype: Dtype | None,
    num_frames: int | None,
    quantize: Quantize | None = None,
    compile_steps: bool = False,
) -> VideoLlama2:
    """The model, with a sign of life on a terminal.

    Raises:
        CheckpointError: there is no such checkpoint, or it cannot be read.
        ValueError: the device is not there.
    """
    settle_output()
    with working(f"loading {model}"):
        from transformers.utils import logging

        from videollama2.assistant import VideoLlama2

        settle_threads()
        quiet: Any = logging
        quiet.disable_progress_bar()
        return VideoLlama2.from_pretrained(
            model,
            device=device,
            dtype=None if dtype is None else dtype.value,
            num_frames=num_frames,
            compile_steps="inductor" if compile_steps else None,
            quantize=None if quantize is None else quantize.value,
        )
