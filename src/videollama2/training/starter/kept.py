"""Scenes whose pictures and sounds were encoded once, for training behind frozen encoders.

Drawing, damaging and encoding a scene takes longer than a step of all that comes after the
encoders. What they make of each scene is kept on disk in half precision; questions are drawn anew
each time a scene comes up.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.processing.fbank import fbank
from videollama2.scenes.rendering import render_frames
from videollama2.scenes.scene import Scene
from videollama2.scenes.sounds import render_sound
from videollama2.training.starter.data import Batch, BatchMaker, as_tensor, damage_streams
from videollama2.training.starter.objective import Streams, pixels_of
from videollama2.training.starter.parts import FRAME_PIXELS

log = logging.getLogger("videollama2.starter")
TAKES = 64  # scenes that are encoded at a time


@dataclass(frozen=True)
class KeptScenes:
    """So many scenes of a seed and what frozen encoders made of them.

    `maker` draws them: its hardening says of which kinds, and how many are damaged before they are
    encoded. Who asks about them may be another.
    """

    folder: Path
    maker: BatchMaker
    seed: Sequence[int]
    count: int

    def draw(self, index: int) -> tuple[Scene, list[float]]:
        """The scene of this number, always the same, and when its frames were taken."""
        return self.maker.draw(np.random.default_rng([*self.seed, index]))

    def render(self, index: int) -> dict[str, Any]:
        """Its pictures and sound, damaged as often as the hardening says."""
        rng = np.random.default_rng([*self.seed, index])
        scene, times = self.maker.draw(rng)
        row: dict[str, Any] = {
            "frames": render_frames(scene, self.maker.world, times, FRAME_PIXELS),
            "waveform": render_sound(scene, self.maker.world),
        }
        if self.maker.hardening is not None:
            damage_streams(row, self.maker.hardening, rng)
        return row

    def has(self, share: int, shares: int) -> bool:
        """Whether this share was encoded."""
        return self._path("audio", share, shares).exists()

    def encode(self, model: VideoLlama2ForConditionalGeneration, share: int, shares: int) -> None:
        """Encode one of so many equal shares; processes side by side can each take another."""
        self.folder.mkdir(parents=True, exist_ok=True)
        numbers = range(self.count * (share - 1) // shares, self.count * share // shares)
        seen: list[NDArray[np.float16]] = []
        heard: list[NDArray[np.float16]] = []
        for first in range(0, len(numbers), TAKES):
            drawn = [self.render(index) for index in numbers[first : first + TAKES]]
            seen.append(_look(model, np.stack([one["frames"] for one in drawn])))
            heard.append(_listen(model, np.stack([one["waveform"] for one in drawn])))
            if (first // TAKES) % 16 == 15:
                log.info("share %d: %d of %d scenes encoded", share, first + TAKES, len(numbers))
        for stream, parts in (("video", seen), ("audio", heard)):
            path = self._path(stream, share, shares)
            partial = path.with_suffix(".partial.npy")
            np.save(partial, np.concatenate(parts))
            os.replace(partial, path)

    def _path(self, stream: str, share: int, shares: int) -> Path:
        return self.folder / f"{stream}-{share}-of-{shares}.npy"

    def opened(self, shares: int) -> Features:
        """All shares, read as they are needed."""
        each = range(1, shares + 1)
        video, audio = (
            [np.load(self._path(stream, share, shares), mmap_mode="r") for share in each]
            for stream in ("video", "audio")
        )
        return Features(tuple(video), tuple(audio))

    def make(self, asker: BatchMaker, seed: Sequence[int], step: int) -> tuple[list[int], Batch]:
        """The numbers of a batch's scenes, and the batch without pictures and sound."""
        rng = np.random.default_rng([*seed, step])
        indices = [int(index) for index in rng.integers(self.count, size=asker.batch_size)]
        return indices, asker.make_unseen([self.draw(index) for index in indices], rng)


@dataclass(frozen=True)
class Features:
    """Of the eye (scenes, T, patches, C), of the ear (scenes, tokens, E), in consecutive parts."""

    video: tuple[NDArray[np.float16], ...]
    audio: tuple[NDArray[np.float16], ...]

    def streams(
        self, model: VideoLlama2ForConditionalGeneration, indices: Sequence[int]
    ) -> Streams:
        """The tokens that connector and projector make of these scenes."""
        seen, heard = (_rows(parts, indices).to(model.device) for parts in (self.video, self.audio))
        core: Any = model.model
        return Streams(core.join_frames(seen), core.project_sounds(heard))


def _rows(parts: Sequence[NDArray[np.float16]], indices: Sequence[int]) -> Tensor:
    starts = np.cumsum([0, *(len(part) for part in parts)])
    found: list[NDArray[np.float16]] = []
    for index in indices:
        part = int(np.searchsorted(starts, index, side="right")) - 1
        found.append(parts[part][index - starts[part]])
    return as_tensor(np.stack(found)).float()


@torch.inference_mode()
def _look(
    model: VideoLlama2ForConditionalGeneration, frames: NDArray[np.uint8]
) -> NDArray[np.float16]:
    core: Any = model.model
    pixels = pixels_of(as_tensor(frames).to(model.device))
    return core.encode_frames(pixels).half().cpu().numpy()


@torch.inference_mode()
def _listen(
    model: VideoLlama2ForConditionalGeneration, waveforms: NDArray[np.float32]
) -> NDArray[np.float16]:
    heard: Any = model.get_audio_features(fbank(as_tensor(waveforms)).to(model.device))
    return heard.last_hidden_state.half().cpu().numpy()
