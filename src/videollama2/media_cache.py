"""Clips that were read and encoded before, ready to be asked about again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from videollama2.generation.prompt import MediumTokens
from videollama2.media.source import Source
from videollama2.processing.parts import LoadedMedia, MediaReport, Part

Key = tuple[object, ...]
"""What decides the tokens: content, settings, and the caller where that is wanted."""


@dataclass(frozen=True, eq=False)
class Medium:
    """A medium read and encoded, ready for any number of questions."""

    loaded: LoadedMedia
    tokens: tuple[MediumTokens, ...]
    read_ms: float
    encode_ms: float

    @property
    def report(self) -> MediaReport:
        """What was taken in."""
        return self.loaded.report

    @property
    def content(self) -> dict[str, Any]:
        """This medium as a part of a message."""
        return {"type": self.loaded.kind, self.loaded.kind: self.loaded}


def key_of(part: Part) -> Key | None:
    """The key of a part whose source is open; None where content cannot be told by little work.

    Files are known by place, number, size and time of change; bytes by their SHA-256.
    """
    source = None if isinstance(part, LoadedMedia) else part.source
    if isinstance(part, LoadedMedia) or not isinstance(source, Source):
        return None
    if source.data is not None:
        content = hashlib.sha256(source.data).hexdigest()
    elif source.path is not None and source.path.is_file():
        state = source.path.stat()
        content = repr((source.path.resolve(), state.st_ino, state.st_size, state.st_mtime_ns))
    else:
        return None
    return content, source.name, type(part).__name__, repr(replace(part, source=None))


class MediaCache:
    """The media used last, at most `max_bytes` of them. May be used from any thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, tuple[Medium, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.held_bytes = 0

    def __len__(self) -> int:
        """How many media are kept."""
        return len(self._kept)

    def get(self, key: Key) -> Medium | None:
        """The medium, if it is still there."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self.held_bytes = 0

    def put(self, key: Key, medium: Medium) -> None:
        """Keep a medium; what was not used for longest goes. One larger than all is not kept."""
        size = sum(tokens.features.nbytes for tokens in medium.tokens)
        if size > self._max_bytes:
            return
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = (medium, size)
            self.held_bytes += size
            while self.held_bytes > self._max_bytes:
                _, (_, gone) = self._kept.popitem(last=False)
                self.held_bytes -= gone


def stripped(loaded: LoadedMedia, sound_tokens: Callable[[int], int]) -> LoadedMedia:
    """The medium without pixels and filter bank, but as many frames and tokens as it had.

    `sound_tokens`: filter bank frames -> tokens of sound.
    """
    pictures = sound = None
    if loaded.pixels is not None:
        pictures = torch.empty(loaded.frames or 1, 0, 0)
    if loaded.features is not None:
        sound = torch.empty(sound_tokens(len(loaded.features)), 0)
    return replace(
        loaded, pixels=None, features=None, encoded_pictures=pictures, encoded_sound=sound
    )
