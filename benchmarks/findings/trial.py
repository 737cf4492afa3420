"""One trial of the laboratory: a fresh connector, so many steps, and what it then answers rightly.

Trials of a finding stand in a grid of variants and seeds. Each is written down by itself, so that a
finding goes on where it stopped, and several processes can share it (`--share 1/2`, `--share 2/2`).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from chart import Point
from laboratory import (
    BOTH,
    HEARD,
    PATCHES,
    SEEN,
    Encoded,
    Laboratory,
    Settings,
    heard_in_window,
    laid_out,
    places_among_many,
)
from pretraining import prepare
from torch import Tensor, nn
from torch.nn import functional as F

from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.tokens import config_connector_shape
from videollama2.scenes.texts import all_texts
from videollama2.scenes.world import load_world
from videollama2.training.starter.data import NUM_FRAMES, Batch
from videollama2.training.starter.objective import Streams, WordSpace, answer_logits
from videollama2.training.starter.parts import build_tokenizer
from videollama2.training.starter.score import right_of, with_stream
from videollama2.training.starter.train import build_optimizer, cosine, descend

sys.path.insert(0, str(Path(__file__).parents[1]))
import common

log = logging.getLogger("videollama2.findings")
STC = {"connector_type": "stc_connector_v35", "depth": 2}
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365}
Counts = dict[str, list[int]]


@dataclass(frozen=True)
class Variant:
    """What is tried: a connector, and what rows show in training.

    Attributes:
        hide: the shares of rows that do not show the video, and not the sound; without them there
            is no sound at all.
        video, audio: which streams of `Encoded`.
        frames: how many of "many".
        longer: times the settings' steps of questions.
    """

    name: str
    connector: Mapping[str, Any]
    hide: tuple[float, float] | None = None
    video: str = "video"
    audio: str = "audio"
    frames: int = NUM_FRAMES
    longer: int = 1
    published: Mapping[str, float] | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        return SEEN if self.hide is None else (*SEEN, *HEARD, *BOTH)

    @property
    def needs(self) -> tuple[str, ...]:
        """Streams of `Encoded`."""
        return (self.video,) if self.hide is None else (self.video, self.audio)


class Trial(nn.Module):
    """A model with a fresh connector and projector, and the language model that was told scenes."""

    def __init__(self, lab: Laboratory, variant: Variant, language: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.lab, self.variant = lab, variant
        self.model = VideoLlama2ForConditionalGeneration(lab.config(variant.connector))
        self.model.model.language_model.load_state_dict(language)
        self.model.model.vision_tower.requires_grad_(False)
        self.model.model.audio_tower.requires_grad_(False)
        self.words = WordSpace(lab.tokenizer, lab.world)
        shape = config_connector_shape(self.model.config.connector_config)
        self.layout = shape.output_grid(variant.frames, PATCHES, PATCHES)

    def streams(self, kept: Encoded, indices: Sequence[int]) -> Streams:
        """The tokens of these scenes; of the video alone, none of sound."""
        video = kept.of(self.variant.video, indices)
        if self.variant.video == "many":
            video = video[:, places_among_many(self.variant.frames)]
        seen = cast("Tensor", self.model.model.join_frames(video))
        if self.variant.hide is None:
            return Streams(seen, seen[:, :0])
        audio = kept.of(self.variant.audio, indices)
        return Streams(seen, cast("Tensor", self.model.model.project_sounds(audio)))

    def batch(
        self, split: str, indices: Sequence[int], rng: np.random.Generator, kinds: Sequence[str]
    ) -> Batch:
        """Questions, and labels that lie as this variant's tokens do."""
        drawn = self.lab.batch(split, indices, rng, kinds, self.variant.frames)
        drawn = laid_out(drawn, self.layout)
        return heard_in_window(drawn) if self.variant.audio == "window" else drawn

    def hidden(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The batch with streams hidden as the variant has it."""
        if self.variant.hide is None:
            return batch
        draw = torch.from_numpy(rng.random(len(batch.kinds)))
        video, audio = self.variant.hide
        return replace(batch, hide_video=draw < video, hide_audio=draw >= 1 - audio)

    def words_loss(self, batch: Batch, streams: Streams) -> Tensor:
        """How far tokens are from the words that are true where they stand."""
        table = cast("nn.Embedding", self.model.get_input_embeddings()).weight
        words = self.words.seen_loss(streams.video, table, batch)
        if self.variant.hide is None:
            return words
        return words + self.words.heard_loss(streams.audio, table, batch.sounds)

    def loss(self, batch: Batch, streams: Streams) -> Tensor:
        """Answers, and a share of the words."""
        logits, targets = answer_logits(self.model, streams, batch, self.lab.tokenizer)
        share = self.lab.settings.word_space_weight
        return F.cross_entropy(logits, targets) + share * self.words_loss(batch, streams)


def train(
    lab: Laboratory,
    variant: Variant,
    seed: int,
    language: Mapping[str, Tensor],
    kept: Encoded,
) -> Trial:
    """The trial of a seed, trained in two stages, as the paper's are.

    First the connector alone (and the sound's projector) learns to put words where they are true,
    the language model frozen; then both learn from questions. Scenes and questions are the same
    for every variant.
    """
    torch.manual_seed(seed)
    trial, settings = Trial(lab, variant, language), lab.settings
    talks = trial.model.model.language_model
    for stage in (0, 1):
        talks.requires_grad_(bool(stage))
        steps = (settings.align_steps, settings.steps * variant.longer)[stage]
        peak = (settings.align_learning_rate, settings.learning_rate)[stage]
        optimizer = build_optimizer(trial, 0.05)
        for step in range(steps):
            rng = np.random.default_rng([4, seed, stage, step])
            indices = [int(i) for i in rng.integers(settings.scenes, size=settings.batch_size)]
            batch = trial.batch("train", indices, rng, variant.kinds if stage else ())
            batch = trial.hidden(batch, rng)
            for group in optimizer.param_groups:
                group["lr"] = min(1.0, (step + 1) / 30) * cosine(peak, step / steps)
            streams = trial.streams(kept, indices)
            loss = trial.loss(batch, streams) if stage else trial.words_loss(batch, streams)
            descend(trial, optimizer, loss)
            if step % 50 == 49:
                words = "questions" if stage else "words"
                done = f"{words}, step {step + 1}, loss {loss.item():.3f}"
                log.info("%s, seed %d: %s", variant.name, seed, done)
    return trial


@torch.inference_mode()
def score(trial: Trial, kept: Encoded, stream: str = "both") -> Counts:
    """Question type -> [asked, right] over the held-out scenes, by a stream of `STREAMS`."""
    trial.eval()
    asked, right = Counter[str](), Counter[str]()
    size = trial.lab.settings.batch_size
    for first in range(0, trial.lab.settings.held_out, size):
        indices = range(first, min(first + size, trial.lab.settings.held_out))
        rng = np.random.default_rng([5, first])
        batch = with_stream(trial.batch("held out", indices, rng, trial.variant.kinds), stream)
        streams = trial.streams(kept, indices)
        for kind, _, hit in right_of(trial.model, streams, batch, trial.lab.tokenizer):
            asked[kind] += 1
            right[kind] += hit
    return {kind: [asked[kind], right[kind]] for kind in sorted(asked)}


def parser(text: str | None) -> argparse.ArgumentParser:
    """The options that all findings in the laboratory have."""
    made = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--world", default=None, help="packed pictures and notes")
    made.add_argument("--work", type=Path, default=Path("outputs/laboratory"), help="kept between")
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--share", default="1/1", metavar="N/OF", help="of the trials, for processes")
    made.add_argument("--only", nargs="*", help="only these variants, by name")
    made.add_argument("--out", type=Path, default=common.RESULTS)
    for field in fields(Settings):
        kind = type(field.default)
        made.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    return made


def trials(
    finding: str, variants: Sequence[Variant], args: argparse.Namespace, of: Callable[..., Any]
) -> dict[str, Any]:
    """Runs what is not there yet of a share; then what all shares have found so far.

    `of(trial, held out)` is what is kept of a trial. The file holds variant -> seed -> that.
    """
    settings = Settings(**{field.name: getattr(args, field.name) for field in fields(Settings)})
    world = load_world(args.world)
    lab = Laboratory(world, build_tokenizer(all_texts(world)), args.work, settings)
    language, kept = prepare(lab, {stream for variant in variants for stream in variant.needs})
    (lab.folder / "trials").mkdir(exist_ok=True)
    share, shares = (int(number) for number in args.share.split("/"))
    wanted = [variant for variant in variants if not args.only or variant.name in args.only]
    grid = [(variant, seed) for seed in range(args.seeds) for variant in wanted]
    for variant, seed in grid[share - 1 :: shares]:
        file = _file(lab, variant, seed)
        if file.exists():
            continue
        found = of(train(lab, variant, seed, language, kept["train"]), kept["held out"])
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(found) + "\n")
        os.replace(partial, file)
    found = {variant.name: _found(lab, variant, args.seeds) for variant in variants}
    values = {
        "settings": asdict(settings),
        "found": {name: seeds for name, seeds in found.items() if seeds},
        **common.facts("cpu"),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"findings_{finding}.json").write_text(json.dumps(values, indent=1) + "\n")
    return values["found"]


def _file(lab: Laboratory, variant: Variant, seed: int) -> Path:
    return lab.folder / "trials" / f"{variant.name}, {seed}.json"


def _found(lab: Laboratory, variant: Variant, seeds: int) -> dict[str, Any]:
    files = {str(seed): _file(lab, variant, seed) for seed in range(seeds)}
    return {seed: json.loads(file.read_text()) for seed, file in files.items() if file.exists()}


def mean_of(counts: Counts, kinds: Sequence[str]) -> float:
    """The mean of the types' shares, each type weighing the same."""
    return statistics.fmean(counts[kind][1] / counts[kind][0] for kind in kinds if kind in counts)


def over_seeds(values: Sequence[float]) -> Point:
    """Their mean and its 95 % interval by Student's t; of one seed alone there is none."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Point(mean, mean, mean)
    spread = T_975[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
    return Point(mean, mean - spread, mean + spread)


def points(seeds: Iterable[Counts], columns: Mapping[str, Sequence[str]]) -> list[Point]:
    """For each column of types their mean, over seeds."""
    each = list(seeds)
    return [over_seeds([mean_of(counts, kinds) for counts in each]) for kinds in columns.values()]


def tell(args: argparse.Namespace, name: str, text: str, picture: str) -> None:
    """Write a finding's table and picture, and show the table."""
    Path(args.out / f"findings_{name}.md").write_text(text + "\n")
    Path(args.out / f"findings_{name}.svg").write_text(picture)
    print(text, end="\n\n")


def shown(point: Point, sign: str = "") -> str:
    """A point as tables have it; without an interval where there is none."""
    if point.low == point.high:
        return f"{point.value:{sign}.3f}"
    return f"{point.value:{sign}.3f} ({point.low:{sign}.3f} to {point.high:{sign}.3f})"
