"""Eye and ear of the starter taught alone, each on what it meets: single frames, whole sounds.

The eye tells what is in each of nine cells of a frame, through a layer that is dropped afterwards.
The ear, with its projector, puts words where they are heard, near the language model's own. Every
thing is as frequent as any other, which in scenes it is not: what can sound is shown there more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.tensors import unflatten
from videollama2.processing.fbank import fbank
from videollama2.scenes.drawing import draw_scene
from videollama2.scenes.labels import SOUND_SLOTS
from videollama2.scenes.names import COLOURS
from videollama2.scenes.rendering import render_frames
from videollama2.scenes.scene import Scene
from videollama2.scenes.sounds import render_sound
from videollama2.scenes.world import CLIP_SECONDS, World
from videollama2.training.starter.damage import damage_frames, damage_sound
from videollama2.training.starter.data import CELLS, as_tensor, label_arrays
from videollama2.training.starter.objective import START_BIAS, WordSpace, pixels_of
from videollama2.training.starter.parts import FRAME_PIXELS, NUM_FRAMES

DAMAGED = 0.4  # the share of frames and sounds
EMPTY = 0.15  # the share of frames with fewer than two things that is kept


@dataclass(frozen=True)
class Frames:
    """Single frames.

    Attributes:
        pictures: (N, 1, H, W, 3) uint8.
        cells: (N, cells, cells, things and colours) 1 where a thing, or a plate, has its centre.
        background: (N,) index of the colour.
    """

    pictures: Tensor
    cells: Tensor
    background: Tensor


@dataclass(frozen=True)
class Sounds:
    """Filter banks (N, F, M) and what is heard in each slot (N, slots, sounds)."""

    features: Tensor
    heard: Tensor


def draw_frames(world: World, count: int, rng: np.random.Generator) -> Frames:
    """Frames of scenes, things drawn alike, mostly where several are seen at once."""
    drawn: list[Frames] = []
    while len(drawn) < count:
        scene = _renamed(draw_scene(world, rng), world, rng)
        slot = int(rng.integers(NUM_FRAMES))
        seen = sum(thing.visible_at(_middle(slot)) for thing in scene.things)
        if seen < 2 and rng.random() > EMPTY:
            continue
        one = frame_of(scene, world, slot)
        if rng.random() < DAMAGED:
            pictures = damage_frames(one.pictures[0].numpy(), rng)
            one = replace(one, pictures=as_tensor(pictures)[None])
        drawn.append(one)
    return joined(drawn)


def frame_of(scene: Scene, world: World, slot: int) -> Frames:
    """What is seen in the middle of one of the clip's `NUM_FRAMES` equal parts."""
    arrays = label_arrays(scene, world, NUM_FRAMES, CELLS)
    cells = np.concatenate([arrays["things"][slot], arrays["plates"][slot]], -1)
    picture = render_frames(scene, world, [_middle(slot)], FRAME_PIXELS)
    return Frames(
        as_tensor(picture)[None], as_tensor(cells)[None], as_tensor(arrays["background"])[None]
    )


def joined(frames: Sequence[Frames]) -> Frames:
    """Many as one."""
    names = [field.name for field in fields(Frames)]
    return Frames(**{name: torch.cat([getattr(one, name) for one in frames]) for name in names})


def _middle(slot: int) -> float:
    return (slot + 0.5) * CLIP_SECONDS / NUM_FRAMES


def _renamed(scene: Scene, world: World, rng: np.random.Generator) -> Scene:
    chosen = rng.choice(len(world.names), len(scene.things), replace=False)
    named = zip(scene.things, chosen, strict=True)
    return replace(
        scene, things=tuple(replace(thing, name=world.names[int(at)]) for thing, at in named)
    )


def draw_sounds(world: World, count: int, rng: np.random.Generator) -> Sounds:
    """Soundtracks of scenes in which something is heard."""
    waveforms: list[Any] = []
    heard = np.zeros((count, SOUND_SLOTS, len(world.sounding)), np.float32)
    while len(waveforms) < count:
        scene = draw_scene(world, rng)
        if not scene.sounds and rng.random() > EMPTY:
            continue
        heard[len(waveforms)] = label_arrays(scene, world)["sounds"]
        sound = render_sound(scene, world)
        waveforms.append(damage_sound(sound, rng) if rng.random() < DAMAGED else sound)
    return Sounds(fbank(as_tensor(np.stack(waveforms))), as_tensor(heard))


class Eye(nn.Module):
    """The vision tower with a linear layer on its patches."""

    def __init__(self, model: VideoLlama2ForConditionalGeneration, world: World) -> None:
        super().__init__()
        self.encode: Any = model.model.encode_frames
        self.tower = model.model.vision_tower
        self.things, self.colours = len(world.names), len(COLOURS)
        self.head = nn.Linear(
            model.config.vision_config.hidden_size, self.things + 2 * self.colours
        )
        nn.init.constant_(self.head.bias, START_BIAS)

    def loss(self, drawn: Frames) -> Tensor:
        """Words missed in cells, summed over words, and the ground's colour missed."""
        drawn = Frames(*(tensor.to(self.head.weight.device) for tensor in vars(drawn).values()))
        said = self.head(self.encode(pixels_of(drawn.pictures))[:, 0])
        told = self.things + self.colours
        side = int(said.shape[1] ** 0.5) // CELLS
        grid = unflatten(said[..., :told], 1, (CELLS, side, CELLS, side)).logsumexp((2, 4))
        found = F.binary_cross_entropy_with_logits(grid, drawn.cells, reduction="none")
        ground = F.cross_entropy(said[..., told:].mean(1), drawn.background)
        return found.sum(-1).mean() + 0.2 * ground


class Ear(nn.Module):
    """The audio tower and its projector, which speak the language model's words as they are."""

    def __init__(
        self, model: VideoLlama2ForConditionalGeneration, tokenizer: Any, world: World
    ) -> None:
        super().__init__()
        self.listen: Any = model.get_audio_features
        core: Any = model.model
        self.parts = nn.ModuleList([core.audio_tower, core.audio_projector])
        self.words = WordSpace(tokenizer, world)
        embed = cast("nn.Embedding", model.get_input_embeddings())
        self.table = lambda: embed.weight.detach()

    def loss(self, drawn: Sounds) -> Tensor:
        """Words missed in slots, summed over words."""
        table = self.table()
        tokens = self.listen(drawn.features.to(table.device)).pooler_output
        return self.words.heard_loss(tokens, table, drawn.heard.to(table.device))
