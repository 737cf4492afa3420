"""A starter that knows one world learns a larger one: more things, more sounds, the same size.

    python -m videollama2.training.starter.grow --world starter-assets/larger.npz \
        --begin starter-run/taught --run starter-run/growing --out starter-run/grown

Words for what is new are added. Eye and ear learn it, each alone, and are frozen; a fixed number of
scenes is encoded once; then connector, projector and language model learn from those, with fresh
questions each time. Seeded and resumable; `--minutes` ends a leg. Eye, ear and shares of the scenes
can be made in processes of their own (`--part`). What has grown can begin once more, without steps
of eye and ear, on the scenes that are encoded already (`--scenes-of`) and another `--round`.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from videollama2.assistant import VideoLlama2
from videollama2.scenes.world import World, load_world
from videollama2.training.starter.data import Batch, BatchMaker, Hardening, ahead
from videollama2.training.starter.kept import KeptScenes
from videollama2.training.starter.mend import AS_BEFORE, ORDER, SETTLING, MendSettings, Patient
from videollama2.training.starter.senses import Ear, Eye, draw_frames, draw_sounds
from videollama2.training.starter.train import (
    Run,
    build_optimizer,
    cosine,
    descend,
    keep_settings,
    note_scores,
    save_starter,
)
from videollama2.training.starter.widen import widen

log = logging.getLogger("videollama2.starter")
EYE_SEED, EAR_SEED, SCENE_SEED, QUESTION_SEED = 6, 7, 8, 9  # rounds go on from the last
SHARES = 4  # in which scenes are encoded
SCORE_EVERY = 400
# Which kinds of scenes are encoded, and how many of them are damaged.
SCENES = Hardening((0.40, 0.30, 0.30), eagerness={}, pictures=0.4, sound=0.4, words=0.0)
# All kinds of questions: what the model knew of order and place must come through new names too.
STUDY = replace(
    ORDER,
    eagerness={
        **dict.fromkeys(("next_thing", "before_after", "thing_on_plate"), 3.0),
        **dict.fromkeys(("list_things", "describe"), 2.0),
        "not_there": 1.5,
        **dict.fromkeys(("background", "is_heard", "heard", "count_sounds"), 0.5),
    },
    words=0.4,
    turns=0.4,
)
# Once more, for what is told by name among several things.
NAMING = replace(
    STUDY,
    eagerness={
        **dict.fromkeys(("choice", "thing_on_plate", "next_thing", "before_after"), 3.0),
        **dict.fromkeys(("which_first", "last_thing", "list_things", "describe"), 2.5),
        **dict.fromkeys(("source_visible", "place", "movement", "plate_colour"), 0.4),
        **dict.fromkeys(("which_sound_first", "last_sound", "is_heard", "who_sounds"), 0.4),
        **dict.fromkeys(("background", "heard", "count_sounds"), 0.2),
    },
)
# Long: mostly what was still right in less than nine of ten.
AT_LENGTH = replace(
    NAMING,
    eagerness={
        **dict.fromkeys(("choice", "thing_on_plate", "next_thing", "list_things", "describe"), 3.0),
        **dict.fromkeys(("which_first", "first_thing", "last_thing", "before_after"), 2.5),
        **dict.fromkeys(("plate_colour", "place", "is_heard", "who_sounds"), 0.5),
        **dict.fromkeys(("which_sound_first", "last_sound", "source_visible"), 0.5),
        **dict.fromkeys(("background", "heard", "count_sounds"), 0.2),
    },
    often=("next_thing",),
)
ROUNDS = (STUDY, STUDY, NAMING, AT_LENGTH)
SETTLE = replace(SETTLING, turns=0.4)


@dataclass(frozen=True)
class GrowSettings:
    """Everything that the outcome depends on, besides the weights begun with."""

    seed: int = 0
    round: int = 0  # of questions about the same scenes, where what has grown studies again
    eye_steps: int = 3000
    eye_frames: int = 96
    ear_steps: int = 700
    ear_sounds: int = 64
    senses_learning_rate: float = 1e-3
    scenes: int = 40960
    batch_size: int = 32
    questions: int = 8
    align_steps: int = 400  # of words alone, before the first question
    steps: int = 2300  # these among them, and the settling ones
    settling_steps: int = 300  # at last: lists and descriptions, all tokens weighing the same
    learning_rate: float = 8e-4
    warmup_steps: int = 100
    word_space_weight: float = 0.3
    weight_decay: float = 0.05

    def rate(self, peak: float, step: int, steps: int) -> float:
        """Warm up, hold for a third, then a cosine down to a hundredth."""
        held = steps / 3
        warm = min(1.0, (step + 1) / self.warmup_steps)
        return warm * cosine(peak, max(0.0, (step - held) / (steps - held)))


class OutOfTimeError(Exception):
    """The leg's minutes are over; what was done is kept."""


@dataclass(frozen=True)
class Leg:
    """Until when this process works (`time.monotonic`), on what, with how many that draw for it."""

    deadline: float = math.inf
    device: str = "cpu"
    workers: int = 0


@dataclass(frozen=True)
class Course:
    """What one part does: steps down a loss of what is drawn for each.

    `after` is called with the number of steps done.
    """

    name: str
    steps: int
    draw: Callable[[int], Any]
    loss: Callable[[int, Any], Tensor]
    after: Callable[[int], None] = lambda step: None


def walk(
    course: Course, parts: nn.Module, peak: float, settings: GrowSettings, run: Run, leg: Leg
) -> None:
    """Take the course with these parts, from the run's last checkpoint on.

    Raises:
        OutOfTimeError: the leg ended first.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    optimizer = build_optimizer(parts, settings.weight_decay)
    step, recent = run.resume(parts, optimizer), 0.0
    for drawn in ahead(course.draw, step, course.steps, leg.workers):
        parts.train()
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(peak, step, course.steps)
        loss = course.loss(step, drawn)
        descend(parts, optimizer, loss)
        step += 1
        recent = 0.98 * recent + 0.02 * loss.item() if recent else loss.item()
        if step % 50 == 0:
            run.note(part=course.name, step=step, loss=round(recent, 4))
        course.after(step)
        late = time.monotonic() > leg.deadline and step < course.steps
        if late or step == course.steps or step % 200 == 0:
            run.save(parts, optimizer, step)
        if late:
            raise OutOfTimeError


@dataclass(frozen=True)
class Growth:
    """A world, the folder of the weights begun with, and a folder for what takes long to make.

    `scenes` is the folder of the run whose encoded scenes are studied: this one, or an earlier one
    with the same eye and ear.
    """

    world: World
    begin: str
    settings: GrowSettings
    folder: Path
    leg: Leg
    scenes: Path

    def begun(self) -> tuple[Any, Any]:
        """The model with words for all of the world, and its tokenizer; always the same."""
        torch.manual_seed(self.settings.seed)  # pyright: ignore[reportUnknownMemberType]
        taught = VideoLlama2.from_pretrained(self.begin)
        model, tokenizer = widen(taught.model, taught.tokenizer, self.world)
        untyped: Any = model
        return untyped.to(self.leg.device), tokenizer

    def eye(self, model: Any) -> None:
        """Teach the vision tower, or fetch what it learned."""
        settings = self.settings
        eye = Eye(model, self.world)
        draw = partial(draw_frames, self.world, settings.eye_frames)
        self._teach("eye", eye, draw, EYE_SEED, settings.eye_steps)

    def ear(self, model: Any, tokenizer: Any) -> None:
        """Teach audio tower and projector, or fetch what they learned."""
        settings = self.settings
        ear = Ear(model, tokenizer, self.world)
        draw = partial(draw_sounds, self.world, settings.ear_sounds)
        self._teach("ear", ear, draw, EAR_SEED, settings.ear_steps)

    def _teach(
        self, name: str, sense: Eye | Ear, draw: Callable[..., Any], seed: int, steps: int
    ) -> None:
        settings = self.settings
        course = Course(
            name,
            steps,
            lambda step: draw(np.random.default_rng([settings.seed, seed, step])),
            lambda step, drawn: sense.loss(drawn),
        )
        parts, run = sense.to(self.leg.device), Run(self.folder / name)
        walk(course, parts, settings.senses_learning_rate, settings, run, self.leg)

    def senses(self) -> Path:
        """The folder of a model whose eye and ear know the world; made where it is not there."""
        folder = self.folder / "senses"
        if not (folder / "training.json").exists():
            model, tokenizer = self.begun()
            self.eye(model)
            self.ear(model, tokenizer)
            folder.mkdir(parents=True, exist_ok=True)
            save_starter(model, tokenizer, folder, asdict(self.settings))
        return folder

    def maker(self, tokenizer: Any, hardening: Hardening | None = None) -> BatchMaker:
        """What draws scenes, or (not without a tokenizer) asks about them."""
        settings = self.settings
        return BatchMaker(
            self.world, tokenizer, settings.batch_size, settings.questions, hardening=hardening
        )

    def kept(self) -> KeptScenes:
        """The scenes that are studied: the same in each round."""
        settings, maker = self.settings, self.maker(None, SCENES)
        return KeptScenes(
            self.scenes / "scenes", maker, (settings.seed, SCENE_SEED), settings.scenes
        )

    def encode(self, numbers: range) -> KeptScenes:
        """Encode these shares of the scenes, where they are not there."""
        kept = self.kept()
        lacking = [number for number in numbers if not kept.has(number, SHARES)]
        if lacking:
            untyped: Any = VideoLlama2.from_pretrained(str(self.senses())).model
            model = untyped.float().to(self.leg.device)
            for number in lacking:
                kept.encode(model, number, SHARES)
                if time.monotonic() > self.leg.deadline:
                    raise OutOfTimeError
        return kept

    def study(self) -> Patient:
        """Teach all but eye and ear."""
        kept, settings = self.encode(range(1, SHARES + 1)), self.settings
        features = kept.opened(SHARES)
        weights = MendSettings(seed=settings.seed, word_space_weight=settings.word_space_weight)
        patient = Patient(str(self.senses()), weights, self.world).to(self.leg.device)
        core: Any = patient.model.model
        for tower in (core.vision_tower, core.audio_tower):
            tower.requires_grad_(False)
        seed = (settings.seed, QUESTION_SEED + settings.round)
        settled = settings.steps - settings.settling_steps
        asking, settling, plain = (
            self.maker(patient.tokenizer, how) for how in (ROUNDS[settings.round], SETTLE, None)
        )
        run = Run(self.folder / "study")

        def draw(step: int) -> tuple[list[int], Batch]:
            return kept.make(asking if step < settled else settling, seed, step)

        def loss(step: int, drawn: tuple[list[int], Batch]) -> Tensor:
            indices, batch = drawn[0], drawn[1].to(self.leg.device)
            with torch.autocast(torch.device(self.leg.device).type, torch.bfloat16):
                streams = features.streams(patient.model, indices)
                if step < settings.align_steps:
                    table = cast("nn.Embedding", patient.model.get_input_embeddings()).weight
                    return patient.word_space.loss(streams, table, batch)
                return patient.loss_of(streams, batch, weights, settling=step >= settled)

        def after(step: int) -> None:
            if step % SCORE_EVERY == 0:
                note_scores(patient.model, plain, run, step, settings.seed)

        course = Course("study", settings.steps, draw, loss, after)
        walk(course, patient, settings.learning_rate, settings, run, self.leg)
        return patient


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--world", required=True, help="packed pictures and notes")
    parser.add_argument("--begin", required=True, help="a folder with the weights to begin from")
    parser.add_argument("--run", required=True, type=Path, help="checkpoints, scenes and log")
    parser.add_argument("--scenes-of", type=Path, help="a run with the same eye, ear and scenes")
    parser.add_argument("--out", required=True, type=Path, help="where the finished model goes")
    parser.add_argument("--minutes", default=math.inf, type=float, help="end this leg after")
    parser.add_argument("--workers", default=1, type=int, help="processes that draw")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--part",
        default="all",
        choices=("all", "eye", "ear", *(f"scenes-{n}" for n in range(1, SHARES + 1))),
        help="only this, for processes side by side",
    )
    for name, value in asdict(GrowSettings()).items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", default=value, type=cast("Any", type(value))
        )
    arguments = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = GrowSettings(**{name: arguments[name] for name in asdict(GrowSettings())})
    keep_settings(arguments["run"], asdict(settings))
    deadline = time.monotonic() + 60 * arguments["minutes"]
    leg = Leg(deadline, arguments["device"], arguments["workers"])
    growth = Growth(
        load_world(arguments["world"]),
        arguments["begin"],
        settings,
        arguments["run"],
        leg,
        arguments["scenes_of"] or arguments["run"],
    )
    try:
        _do(growth, arguments["part"], arguments["out"])
    except OutOfTimeError:
        log.info("this leg's minutes are over: the same command goes on")


def _do(growth: Growth, part: str, out: Path) -> None:
    if part == "eye":
        growth.eye(growth.begun()[0])
    elif part == "ear":
        growth.ear(*growth.begun())
    elif part != "all":
        share = int(part.removeprefix("scenes-"))
        growth.encode(range(share, share + 1))
    else:
        patient = growth.study()
        told = json.loads((Path(growth.begin) / "training.json").read_text())
        told["growths"] = [*told.get("growths", ()), asdict(growth.settings)]
        out.mkdir(parents=True, exist_ok=True)
        save_starter(patient.model, patient.tokenizer, out, told)
        for name in AS_BEFORE:  # loading has left its marks in them
            shutil.copy(growth.senses() / name, out / name)
        log.info("the starter is in %s", out)


if __name__ == "__main__":
    main()
