"""Sounds that come to vLLM's server: kept as they came, so that our own reader decodes them.

vLLM would give the mean of a file's channels at once, and what can be read of a broken file.
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from vllm.multimodal.media import audio

from videollama2.engines.vllm.names import MODE

_backends: Any = audio


def undecoded(source: BytesIO | Path | str, **_: Any) -> bytes:
    """The file's bytes."""
    return source.getvalue() if isinstance(source, BytesIO) else Path(source).read_bytes()


def register_sounds() -> None:
    """Have vLLM know `undecoded` as one of its audio backends, which are a plain table."""
    _backends.AUDIO_BACKENDS = (*_backends.AUDIO_BACKENDS, MODE)
    _backends._AUDIO_LOADERS[MODE] = undecoded
