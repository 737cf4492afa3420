"""Clips that were read and encoded before, ready to be asked about again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import torch

from videollama2.engine import Medium
from videollama2.processing.parts import LoadedMedia

Key = tuple[object, ...]
"""What decides the tokens: content, settings, checkpoint, and the caller where that is wanted."""


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
