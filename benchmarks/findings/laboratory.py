"""The made world as a laboratory: what a connector is given, what it is asked, how it is scored.

Nothing in it has met a connector before. The eye (a ViT of the starter's size) learned from single
frames, with a linear layer on its patches. The language model learned to answer from scenes that
were *told*: in place of video tokens stood sums of the embeddings of the words that are true there,
in the layouts of all connectors in turn, and it never had a video and a sound at the same time. The
ear is the starter's. Eye and ear stay frozen, and what they make of each scene is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videollama2.model.config import VideoLlama2Config
from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.tensors import unflatten
from videollama2.processing.sound import released_soundtrack_window
from videollama2.scenes.drawing import draw_scene
from videollama2.scenes.questions import KINDS, ask
from videollama2.scenes.scene import Scene
from videollama2.scenes.world import CLIP_SECONDS, SAMPLING_RATE, World
from videollama2.training.starter.data import (
    FRAME_RATES,
    Batch,
    encode_questions,
    frame_times,
    label_arrays,
    stack_questions,
)
from videollama2.training.starter.objective import Streams, WordSpace
from videollama2.training.starter.parts import NUM_FRAMES, build_config

SEEN = (
    "is_there", "choice", "count_things", "first_thing", "last_thing", "which_first", "next_thing",
    "plate_colour", "thing_on_plate", "place", "movement", "background",
)  # fmt: skip
HEARD = ("heard", "is_heard", "count_sounds", "which_sound_first", "last_sound")
BOTH = ("who_sounds", "source_visible", "before_after")
PATCHES = 6  # rows and columns of a frame's patches
SPLITS = {"train": 11, "held out": 12}
LAYOUTS = ((8, 3, 3), (4, 3, 3), (1, 6, 6), (4, 2, 2), (2, 3, 3))
LANGUAGE = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
RARE = 1e-3
MANY = 32  # frames of a clip from which fewer are taken
WINDOW_ROWS, WINDOW_ROW_S = 93, 0.32  # the ear's rows of patches in 30 s


def places_among_many(frames: int) -> list[int]:
    """Which of `MANY` frames stand for so many: those in the middle of equal parts of the clip."""
    return [int((index + 0.5) * MANY / frames) for index in range(frames)]


@dataclass(frozen=True)
class Settings:
    """What every finding rests on: two with the same settings stand on the same encoders."""

    scenes: int = 8192
    held_out: int = 1024
    batch_size: int = 32
    questions: int = 6
    eye_steps: int = 1500
    eye_frames: int = 96
    language_steps: int = 2000
    align_steps: int = 700  # of the connector alone
    align_learning_rate: float = 2e-3
    steps: int = 150  # of connector and language model
    learning_rate: float = 1e-3
    word_space_weight: float = 0.3


@dataclass(frozen=True)
class Laboratory:
    """A world, a tokenizer, and a folder for what takes long to make."""

    world: World
    tokenizer: Any
    folder: Path
    settings: Settings

    def scene(self, split: str, index: int) -> tuple[Scene, list[float]]:
        """A scene of a split, and when its frames were taken."""
        rng = np.random.default_rng([SPLITS[split], index])
        return draw_scene(self.world, rng), frame_times(int(rng.choice(FRAME_RATES)))

    def config(self, connector: Mapping[str, Any] | None = None) -> VideoLlama2Config:
        """The model's, with a connector in the place of STC."""
        return build_config(self.tokenizer, "small", connector, **LANGUAGE)

    def batch(
        self,
        split: str,
        indices: Sequence[int],
        rng: np.random.Generator,
        kinds: Sequence[str],
        frames: int = NUM_FRAMES,
    ) -> Batch:
        """Questions of these kinds about scenes; frames and filter banks are left out."""
        rows = [self._row(split, int(index), rng, kinds, frames) for index in indices]
        tensors = {
            name: torch.from_numpy(np.stack([row[name] for row in rows]))
            for name in ("things", "movements", "plates", "background", "sounds")
        }
        nothing = torch.zeros(len(rows), dtype=torch.bool)
        return Batch(
            frames=torch.empty(len(rows), 0),
            features=torch.empty(len(rows), 0),
            hide_video=nothing,
            hide_audio=nothing,
            kinds=tuple(row["kinds"] for row in rows),
            **stack_questions(rows),
            **tensors,
        )

    def _row(
        self, split: str, index: int, rng: np.random.Generator, kinds: Sequence[str], frames: int
    ) -> dict[str, Any]:
        scene, _ = self.scene(split, index)
        eagerness = {**dict.fromkeys(KINDS, RARE), **dict.fromkeys(kinds, 1.0)}
        questions = ask(scene, self.world, rng, len(KINDS), eagerness=eagerness)
        asked = [one for one in questions if one.kind in kinds][: self.settings.questions]
        return {
            **label_arrays(scene, self.world, frames, PATCHES),
            "kinds": tuple(question.kind for question in asked),
            **encode_questions(self.tokenizer, asked),
        }


@dataclass(frozen=True)
class Encoded:
    """What eye and ear made of a split's scenes, kept on disk in half precision.

    Of the eye (scenes, T, patches, C): "video", as a reader samples eight frames; "many", `MANY` in
    equal steps. Of the ear (scenes, tokens, E): "audio", the soundtrack as it is; "window", as the
    released code hears it.
    """

    folder: Path
    split: str

    def of(self, stream: str, indices: Sequence[int]) -> Tensor:
        """What was made of these scenes, in float32."""
        kept = np.load(self.path(stream), mmap_mode="r")
        return torch.from_numpy(kept[np.asarray(indices)]).float()

    def path(self, stream: str) -> Path:
        return self.folder / f"{self.split.replace(' ', '_')}-{stream}.npy"


def laid_out(batch: Batch, layout: tuple[int, int, int]) -> Batch:
    """The batch with its labels (B, 8, 6, 6, words) joined to the cells of a layout."""
    joined = {
        name: _joined(cast("Tensor", getattr(batch, name)), layout)
        for name in ("things", "movements", "plates")
    }
    return replace(batch, **joined)


def heard_in_window(batch: Batch) -> Batch:
    """The batch with its labels of sound (B, 12, sounds) as the released window has them.

    What is heard in the middle of each of the ear's rows of patches is told by a soundtrack that
    counts its own samples, from one; after its end there is nothing.
    """
    slots = batch.sounds.shape[1]
    samples = round(CLIP_SECONDS * SAMPLING_RATE)
    counted = released_soundtrack_window(np.arange(1, samples + 1, dtype=np.float32))
    middles = ((np.arange(WINDOW_ROWS) + 0.5) * WINDOW_ROW_S * SAMPLING_RATE).astype(int)
    heard = torch.from_numpy(counted[middles]).long()
    slot = torch.where(heard > 0, (heard - 1) * slots // samples, slots)
    return replace(batch, sounds=F.pad(batch.sounds, (0, 0, 0, 1))[:, slot])


def _joined(labels: Tensor, layout: tuple[int, int, int]) -> Tensor:
    for axis, parts in zip((1, 3, 5), layout, strict=True):
        labels = unflatten(labels, axis, (parts, -1))
    return labels.amax((2, 4, 6))


def told(
    model: VideoLlama2ForConditionalGeneration, words: WordSpace, batch: Batch, noise: float = 0.05
) -> Streams:
    """Tokens that say in words what is true of each cell and slot, with a little noise."""
    table = cast("nn.Embedding", model.get_input_embeddings()).weight

    def sums(labels: Tensor, group: str) -> Tensor:
        return labels @ table[torch.tensor(words.words[group])]

    ground = table[torch.tensor(words.words["colours"])[batch.background]]
    video = (
        sums(batch.things, "things")
        + sums(batch.movements, "movements")
        + sums(batch.plates, "colours")
        + 0.5 * ground[:, None, None, None]
    ).flatten(1, 3)
    audio = sums(batch.sounds, "sounds")
    spread = noise * table.detach().std()
    return Streams(
        video + spread * torch.randn_like(video), audio + spread * torch.randn_like(audio)
    )
