"""Eye and language model of the laboratory, each taught alone, and what they make of all scenes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from laboratory import (
    HEARD,
    LAYOUTS,
    MANY,
    SEEN,
    SPLITS,
    Encoded,
    Laboratory,
    laid_out,
    told,
)
from torch import Tensor, nn
from torch.nn import functional as F

from videollama2 import VideoLlama2
from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.processing.fbank import fbank
from videollama2.processing.sound import released_soundtrack_window
from videollama2.scenes.rendering import render_frames
from videollama2.scenes.scene import Scene
from videollama2.scenes.sounds import render_sound
from videollama2.scenes.world import CLIP_SECONDS
from videollama2.training.starter.objective import WordSpace, answer_logits, pixels_of
from videollama2.training.starter.parts import FRAME_PIXELS, NUM_FRAMES
from videollama2.training.starter.senses import Eye, Frames, frame_of, joined
from videollama2.training.starter.train import build_optimizer, cosine, descend, keep_settings

log = logging.getLogger("videollama2.findings")
TAKES = 64  # scenes that are encoded at a time


def save(state: dict[str, Any], path: Path) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def teach(
    name: str, parts: nn.Module, loss_of: Callable[[int], Tensor], steps: int, rate: float
) -> None:
    """So many steps down `loss_of(step)`, the rate along a cosine."""
    optimizer = build_optimizer(parts, 0.05)
    recent = 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = min(1.0, (step + 1) / 100) * cosine(rate, step / steps)
        loss = loss_of(step)
        descend(parts, optimizer, loss)
        recent = 0.98 * recent + 0.02 * loss.item() if recent else loss.item()
        if step % 100 == 99:
            log.info("%s: step %d, loss %.3f", name, step + 1, recent)


def language_model(lab: Laboratory) -> dict[str, Tensor]:
    """Weights of the language model, taught on scenes that were told, one stream at a time."""
    path = lab.folder / "language.pt"
    if path.exists():
        return torch.load(path, weights_only=True)
    torch.manual_seed(0)
    settings = lab.settings
    model = VideoLlama2ForConditionalGeneration(lab.config())
    words = WordSpace(lab.tokenizer, lab.world)
    teach(
        "language model",
        model.model.language_model,
        lambda step: told_loss(lab, model, words, np.random.default_rng([1, step])),
        settings.language_steps,
        settings.learning_rate,
    )
    state = model.model.language_model.state_dict()
    save(state, path)
    return state


def told_loss(lab: Laboratory, model: Any, words: WordSpace, rng: np.random.Generator) -> Tensor:
    """Every row shows one stream, in a layout drawn for the batch, and is asked about that one."""
    indices = rng.integers(2**40, size=lab.settings.batch_size)  # scenes without end
    kinds = SEEN if rng.random() < 0.7 else HEARD
    batch = lab.batch("train", [int(i) for i in indices], rng, kinds)
    batch = laid_out(batch, LAYOUTS[int(rng.integers(len(LAYOUTS)))])
    shown = torch.full_like(batch.hide_video, kinds is SEEN)
    batch = replace(batch, hide_video=~shown, hide_audio=shown)
    logits, targets = answer_logits(model, told(model, words, batch), batch, lab.tokenizer)
    return F.cross_entropy(logits, targets)


def eye(lab: Laboratory) -> dict[str, Tensor]:
    """Weights of the vision tower, taught on single frames: what is in each of nine cells."""
    path = lab.folder / "eye.pt"
    if path.exists():
        return torch.load(path, weights_only=True)
    torch.manual_seed(0)
    settings = lab.settings
    model = VideoLlama2ForConditionalGeneration(lab.config())
    whole = Eye(model, lab.world)
    teach(
        "eye",
        whole,
        lambda step: whole.loss(frames(lab, np.random.default_rng([2, step]))),
        settings.eye_steps,
        settings.learning_rate,
    )
    state = model.model.vision_tower.state_dict()
    save(state, path)
    return state


def frames(lab: Laboratory, rng: np.random.Generator) -> Frames:
    """Single frames of scenes as they are drawn."""
    return joined(
        [
            frame_of(lab.scene("train", int(index))[0], lab.world, int(rng.integers(NUM_FRAMES)))
            for index in rng.integers(2**40, size=lab.settings.eye_frames)
        ]
    )


class Encoders:
    """The frozen eye, and the starter's ear."""

    def __init__(self, lab: Laboratory) -> None:
        self.world = lab.world
        self.model = VideoLlama2ForConditionalGeneration(lab.config())
        self.model.model.vision_tower.load_state_dict(eye(lab))
        self.starter = cast("Any", VideoLlama2.from_pretrained("starter", device="cpu").model)

    @torch.inference_mode()
    def encode(self, stream: str, drawn: Sequence[tuple[Scene, list[float]]]) -> Any:
        """What one of the streams of `Encoded` holds of these scenes."""
        if stream in ("audio", "window"):
            hear = released_soundtrack_window if stream == "window" else np.asarray
            sound = np.stack([hear(render_sound(scene, self.world)) for scene, _ in drawn])
            heard = self.starter.get_audio_features(fbank(torch.from_numpy(sound)))
            return heard.last_hidden_state.half().numpy()
        many = [(index + 0.5) * CLIP_SECONDS / MANY for index in range(MANY)]
        pictures = [
            render_frames(scene, self.world, times if stream == "video" else many, FRAME_PIXELS)
            for scene, times in drawn
        ]
        pixels = pixels_of(torch.from_numpy(np.stack(pictures)))
        return self.model.model.encode_frames(pixels).half().numpy()


def encode(lab: Laboratory, encoders: Encoders, kept: Encoded, stream: str) -> None:
    """One stream of all of a split's scenes, onto disk."""
    count = lab.settings.scenes if kept.split == "train" else lab.settings.held_out
    found: list[Any] = []
    for first in range(0, count, TAKES):
        last = min(first + TAKES, count)
        drawn = [lab.scene(kept.split, index) for index in range(first, last)]
        found.append(encoders.encode(stream, drawn))
        if (first // TAKES) % 16 == 15:
            log.info("%s, %s: %d of %d scenes encoded", kept.split, stream, last, count)
    partial = kept.path(stream).with_suffix(".partial.npy")
    np.save(partial, np.concatenate(found))
    os.replace(partial, kept.path(stream))


def prepare(
    lab: Laboratory, streams: Iterable[str]
) -> tuple[dict[str, Tensor], dict[str, Encoded]]:
    """The language model's weights, and these streams of both splits; made where they are not there."""
    keep_settings(lab.folder, asdict(lab.settings) | {"world": list(lab.world.names)})
    language, kept = language_model(lab), {split: Encoded(lab.folder, split) for split in SPLITS}
    missing = [
        (split, stream)
        for split, stream in product(SPLITS, sorted(set(streams)))
        if not kept[split].path(stream).exists()
    ]
    if missing:
        encoders = Encoders(lab)
        for split, stream in missing:
            encode(lab, encoders, kept[split], stream)
    return language, kept
