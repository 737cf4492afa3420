"""Train the starter from nothing: encoders in word space first, then everything on questions.

    python -m videollama2.training.starter.train --world starter-assets/world.npz

Seeded and resumable: a run stopped at any time goes on from its last checkpoint, on the same
batches. `--minutes` ends a leg; the same command starts the next one.
"""

import argparse
import json
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.processing.processor import VideoLlama2Processor
from videollama2.scenes.questions import NOT_CLOSED_KINDS
from videollama2.scenes.texts import all_texts
from videollama2.scenes.world import World, load_world
from videollama2.training.starter.data import Batch, BatchMaker, batches
from videollama2.training.starter.objective import WordSpace, answer_logits, encode
from videollama2.training.starter.parts import PIXELS, build_config, build_tokenizer
from videollama2.training.starter.score import mean_accuracy, score

log = logging.getLogger("videollama2.starter")
SCENE_SEED, HELD_OUT_SEED = 1, 2


@dataclass(frozen=True)
class Settings:
    """Everything that the outcome depends on."""

    seed: int = 0
    batch_size: int = 32
    pretrain_steps: int = 1000
    joint_steps: int = 1400
    joint_horizon: int = 1800  # the step at which the joint phase would have cooled down
    practice_steps: int = 700
    learning_rate: float = 1e-3
    joint_learning_rate: float = 8e-4
    practice_learning_rate: float = 6e-4
    warmup_steps: int = 150
    weight_decay: float = 0.05
    word_space_weight: float = 0.3  # of the word-space loss in the joint phase
    questions: int = 8
    size: str = "small"  # one of `parts.SIZES`

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return self.practice_from + self.practice_steps

    @property
    def practice_from(self) -> int:
        """The step from which what is learned late is asked most."""
        return self.pretrain_steps + self.joint_steps


class Trainee(nn.Module):
    """The model and the word-space heads, trained together."""

    def __init__(self, settings: Settings, world: World) -> None:
        super().__init__()
        torch.manual_seed(settings.seed)  # pyright: ignore[reportUnknownMemberType]
        self.tokenizer: Any = build_tokenizer(all_texts(world))
        self.model = VideoLlama2ForConditionalGeneration(
            build_config(self.tokenizer, settings.size)
        )
        self.word_space = WordSpace(self.tokenizer, world)

    def loss(self, batch: Batch, settings: Settings, joint: bool) -> torch.Tensor:
        """Word space alone in the first phase, answers and a share of word space in the second.

        In the second the vision tower is frozen, as in the paper's stages.
        """
        self.model.model.vision_tower.requires_grad_(not joint)
        streams = encode(self.model, batch)
        embeddings = cast("nn.Embedding", self.model.get_input_embeddings()).weight
        words = self.word_space.loss(streams, embeddings, batch)
        if not joint:
            return words
        logits, targets = answer_logits(self.model, streams, batch, self.tokenizer)
        return nn.functional.cross_entropy(logits, targets) + settings.word_space_weight * words


def learning_rate(settings: Settings, step: int) -> float:
    """Warm up, hold, then cosine to a hundredth; practice is cosine from its start."""
    if step >= settings.practice_from:
        done = (step - settings.practice_from) / max(settings.practice_steps, 1)
        return cosine(settings.practice_learning_rate, done)
    joint = step >= settings.pretrain_steps
    peak = settings.joint_learning_rate if joint else settings.learning_rate
    at = step - settings.pretrain_steps if joint else step
    if at < settings.warmup_steps:
        return peak * (at + 1) / settings.warmup_steps
    if not joint:
        return peak  # the joint phase goes on from here: no need to cool down twice
    half = settings.joint_horizon // 2
    return cosine(peak, max(0.0, (at - half) / max(settings.joint_horizon - half, 1)))


def cosine(peak: float, done: float) -> float:
    """From the peak to a hundredth of it, along half a wave; `done` goes from 0 to 1."""
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def build_optimizer(trainee: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """AdamW; what is no matrix does not decay. The rate is set at each step."""
    matrices = [p for p in trainee.parameters() if p.dim() > 1]
    others = [p for p in trainee.parameters() if p.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=True)


@dataclass(frozen=True)
class Run:
    """A folder with the run's settings, last checkpoint and log."""

    folder: Path

    def save(self, trainee: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write the checkpoint beside the old one, then take its place."""
        state = {"model": trainee.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        partial = self.folder / "checkpoint.partial"
        torch.save(state, partial)
        os.replace(partial, self.folder / "checkpoint.pt")

    def resume(self, trainee: nn.Module, optimizer: torch.optim.Optimizer) -> int:
        """Load the last checkpoint, if any; the step to go on from."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return 0
        state = torch.load(path, weights_only=True)
        trainee.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])

    def check_settings(self, settings: Any) -> None:
        """A run goes on with the settings that it began with.

        Raises:
            ValueError: the folder holds a run with others.
        """
        keep_settings(self.folder, asdict(settings))

    def note(self, **values: Any) -> None:
        """One line of the log."""
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")
        log.info("%s", "  ".join(f"{name} {value}" for name, value in values.items()))


def keep_settings(folder: Path, values: Mapping[str, Any]) -> None:
    """Note what a folder is made with, or check that it is still the same.

    Raises:
        ValueError: it was made with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    if path.exists() and json.loads(path.read_text()) != values:
        raise ValueError(f"{path} was made with other settings: use them, or another folder")
    path.write_text(json.dumps(values, indent=2) + "\n")


def legs(stream: Iterable[Batch], deadline: float) -> Iterator[Batch]:
    """The batches until the deadline (`time.monotonic`) is past."""
    for batch in stream:
        yield batch
        if time.monotonic() > deadline:
            return


def train(
    world: World,
    settings: Settings,
    run: Run,
    *,
    device: str,
    workers: int,
    minutes: float,
    save_every: int = 200,
) -> Trainee | None:
    """Train to the end, or until the leg's minutes are over (then None)."""
    run.check_settings(settings)
    trainee = Trainee(settings, world).to(device)
    optimizer = build_optimizer(trainee, settings.weight_decay)
    step = run.resume(trainee, optimizer)
    maker = BatchMaker(
        world,
        trainee.tokenizer,
        settings.batch_size,
        settings.questions,
        practice_from=settings.practice_from,
    )
    deadline = time.monotonic() + 60 * minutes
    began, begun_at, recent = time.monotonic(), step, 0.0
    seed = (settings.seed, SCENE_SEED)
    stream = batches(maker, seed, step, settings.steps, settings.pretrain_steps, workers)
    for batch in legs(stream, deadline):
        joint = step >= settings.pretrain_steps
        trainee.train()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        loss = trainee.loss(batch.to(device), settings, joint)
        descend(trainee, optimizer, loss)
        step += 1
        recent = 0.95 * recent + 0.05 * loss.item() if recent else loss.item()
        if step % 50 == 0 or step == settings.steps:
            pace = (step - begun_at) * settings.batch_size / (time.monotonic() - began)
            run.note(
                step=step, joint=joint, loss=round(recent, 4), scenes_per_second=round(pace, 1)
            )
        if joint and (step - settings.pretrain_steps) % 250 == 0:
            note_scores(trainee.model, maker, run, step, settings.seed)
        if step % save_every == 0:
            run.save(trainee, optimizer, step)
    run.save(trainee, optimizer, step)
    return trainee if step >= settings.steps else None


def descend(trainee: nn.Module, optimizer: Any, loss: Any) -> None:
    """One step downhill. (torch leaves `backward` and `step` untyped.)"""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
    optimizer.step()


def note_scores(
    model: VideoLlama2ForConditionalGeneration, maker: BatchMaker, run: Run, step: int, seed: int
) -> None:
    """A line of the log with accuracy on a few held-out batches, by question type."""
    scores = score(model, maker, (seed, HELD_OUT_SEED), steps=6)
    run.note(
        step=step,
        mean_closed=round(mean_accuracy(scores, NOT_CLOSED_KINDS), 3),
        **{result.kind: round(result.accuracy, 2) for result in scores},
    )


def save_starter(untyped: Any, tokenizer: Any, folder: Path, settings: Mapping[str, Any]) -> None:
    """Weights in bfloat16, tokenizer and config: what `from_pretrained` reads."""
    model = untyped.to(dtype=torch.bfloat16)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor: Any = VideoLlama2Processor.from_config(model.config, tokenizer, PIXELS)
    processor.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(settings, indent=2) + "\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--world", default=None, help="packed pictures and notes (default: stand-ins)"
    )
    parser.add_argument("--run", default="starter-run", type=Path, help="checkpoint and log")
    parser.add_argument("--out", default=None, type=Path, help="where the finished model goes")
    parser.add_argument("--minutes", default=math.inf, type=float, help="end this leg after")
    parser.add_argument("--workers", default=1, type=int, help="processes that draw scenes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, value in asdict(Settings()).items():
        kind = cast("Any", type(value))
        parser.add_argument(f"--{name.replace('_', '-')}", default=value, type=kind)
    arguments = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = Settings(**{name: arguments[name] for name in asdict(Settings())})
    trainee = train(
        load_world(arguments["world"]),
        settings,
        Run(arguments["run"]),
        device=arguments["device"],
        workers=arguments["workers"],
        minutes=arguments["minutes"],
    )
    if trainee is not None and arguments["out"] is not None:
        arguments["out"].mkdir(parents=True, exist_ok=True)
        save_starter(trainee.model, trainee.tokenizer, arguments["out"], asdict(settings))
        log.info("the starter is in %s", arguments["out"])


if __name__ == "__main__":
    main()
