"""The starter's last phases: what a finished model does badly, taught to it again.

    python -m videollama2.training.starter.mend --world starter-assets/world.npz \
        --begin starter-run/taught --run starter-run/mending --out starter-run/mended

It can be said again from what came out, with another `--plan`. It begins from saved weights, in
bfloat16 as they are, with fresh heads and a fresh optimizer: so it gives the same whether the
phases before it were run just now or long ago. Seeded and resumable, as they are.
"""

import argparse
import json
import logging
import math
import shutil
import time
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from videollama2.assistant import VideoLlama2
from videollama2.scenes.world import World, load_world
from videollama2.training.starter.data import (
    IGNORED,
    SLOTS,
    Batch,
    BatchMaker,
    Hardening,
    batches,
)
from videollama2.training.starter.facts import Facts
from videollama2.training.starter.objective import Streams, WordSpace, encode, read_rows
from videollama2.training.starter.train import (
    Run,
    build_optimizer,
    cosine,
    descend,
    legs,
    note_scores,
    save_starter,
)

log = logging.getLogger("videollama2.starter")
AS_BEFORE = ("config.json", "tokenizer_config.json")
SCENE_SEED = 5  # 1 to 4 are taken: training, its scores, the clips that ship, the report
# More scenes that need both streams or an order, more questions of what was learned worst.
HARDENING = Hardening(
    kinds=(0.36, 0.34, 0.30),
    eagerness={
        **dict.fromkeys(("place", "source_visible", "before_after", "next_thing"), 3.0),
        **dict.fromkeys(("last_thing", "thing_on_plate"), 2.5),
        **dict.fromkeys(("which_first", "is_there", "who_sounds", "count_things"), 1.3),
        **dict.fromkeys(("choice", "movement", "plate_colour", "is_heard"), 0.7),
        **dict.fromkeys(("heard", "which_sound_first", "last_sound", "count_sounds"), 0.5),
        "background": 0.3,
    },
    pictures=0.4,
    sound=0.4,
    words=0.4,
)
# At last the long answers, which weighed little till then: lists and descriptions.
SETTLING = replace(
    HARDENING,
    kinds=(0.48, 0.32, 0.20),
    eagerness={
        **dict.fromkeys(("list_things", "describe"), 6.0),
        **dict.fromkeys(("next_thing", "before_after", "thing_on_plate", "count_things"), 1.5),
    },
    pictures=0.2,
    sound=0.2,
)
# Once more, for what was still right in two or three of four: what follows what, on which plate.
ORDER = replace(
    HARDENING,
    kinds=(0.38, 0.22, 0.40),
    eagerness={
        **dict.fromkeys(("next_thing", "before_after", "thing_on_plate"), 6.0),
        **dict.fromkeys(("which_first", "last_thing", "list_things", "describe"), 2.0),
        **dict.fromkeys(("source_visible", "who_sounds", "place", "is_there", "choice"), 1.0),
        **dict.fromkeys(("movement", "plate_colour", "is_heard", "count_sounds"), 0.5),
        **dict.fromkeys(("heard", "which_sound_first", "last_sound", "background"), 0.3),
    },
    pictures=0.25,
    sound=0.25,
    words=0.3,
)
# The language model alone, for what has to be looked up in two steps: what came after that thing.
LOOKING_UP = replace(
    ORDER,
    kinds=(0.25, 0.15, 0.60),
    eagerness={"next_thing": 0.1, "thing_on_plate": 0.1, "before_after": 2.0, "which_first": 2.0},
    often=("next_thing", "thing_on_plate"),
)


@dataclass(frozen=True)
class Plan:
    """What is asked, what at last, and whether all but the language model is left as it is."""

    mending: Hardening
    settling: Hardening
    language_alone: bool = False


PLANS = {
    "widely": Plan(HARDENING, SETTLING),
    "order": Plan(ORDER, replace(ORDER, eagerness=SETTLING.eagerness)),
    "looking up": Plan(
        LOOKING_UP, replace(LOOKING_UP, eagerness=SETTLING.eagerness), language_alone=True
    ),
    "at last": Plan(SETTLING, replace(SETTLING, often=LOOKING_UP.often), language_alone=True),
}


@dataclass(frozen=True)
class MendSettings:
    """Everything that the outcome depends on, besides the weights begun with."""

    plan: str = "widely"
    seed: int = 0
    batch_size: int = 32
    questions: int = 8
    steps: int = 500
    horizon: int = 540  # the step at which it would have cooled down
    cooling_steps: int = 220  # up to there, along a cosine; before it the rate is constant
    learning_rate: float = 6e-4
    settling_steps: int = 45  # after `steps`, every token of an answer weighing the same
    settling_learning_rate: float = 2.5e-4
    warmup_steps: int = 40
    weight_decay: float = 0.05
    word_space_weight: float = 0.3
    facts_weight: float = 0.2

    @property
    def all_steps(self) -> int:
        """Steps of both parts."""
        return self.steps + self.settling_steps


class Patient(nn.Module):
    """The model that is mended, with heads that ask it for words and facts."""

    def __init__(self, begin: str, settings: MendSettings, world: World) -> None:
        super().__init__()
        taught = VideoLlama2.from_pretrained(begin)
        torch.manual_seed(settings.seed)  # pyright: ignore[reportUnknownMemberType]
        self.tokenizer: Any = taught.tokenizer
        untyped: Any = taught.model
        self.model = untyped.float()
        self.word_space = WordSpace(self.tokenizer, world)
        if PLANS[settings.plan].language_alone:
            for name, part in self.model.model.named_children():
                part.requires_grad_(name == "language_model")
        width = self.model.config.text_config.hidden_size
        self.facts = Facts(width, len(world.names), SLOTS)

    def loss(self, batch: Batch, settings: MendSettings, settling: bool = False) -> Tensor:
        """Answers, words, and facts: see `loss_of`."""
        return self.loss_of(encode(self.model, batch), batch, settings, settling)

    def loss_of(
        self, streams: Streams, batch: Batch, settings: MendSettings, settling: bool = False
    ) -> Tensor:
        """Answers, words, and facts of a batch whose pictures and sounds became these tokens.

        Each question weighs by the root of its answer's length; while settling, by its length.
        """
        embeddings = cast("nn.Embedding", self.model.get_input_embeddings()).weight
        words = self.word_space.loss(streams, embeddings, batch)
        read = read_rows(self.model, streams, batch, self.tokenizer)
        each = nn.functional.cross_entropy(read.logits, read.targets, reduction="none")
        weights = torch.ones_like(each) if settling else answer_weights(batch)
        answers = (each * weights).sum() / weights.sum()
        if batch.facts is None:
            raise ValueError("the batch was drawn without facts: give its maker a Hardening")
        facts = self.facts.loss(
            streams.video, read.media, batch.facts, ~batch.hide_video, ~batch.hide_audio
        )
        return answers + settings.word_space_weight * words + settings.facts_weight * facts


def answer_weights(batch: Batch) -> Tensor:
    """(N,) one over the root of its answer's length, for each answer position of all rows.

    With every token alike, one description outweighs ten times yes or no.
    """
    wanted = batch.targets != IGNORED
    rows = torch.arange(wanted.shape[0], device=wanted.device)[:, None].expand_as(wanted)
    questions = int(batch.segments.max()) + 1
    number = (rows * questions + batch.segments)[wanted]
    return torch.bincount(number)[number].float().rsqrt()


def mend_rate(settings: MendSettings, step: int) -> float:
    """Warm up, hold, then a cosine that would be down to a hundredth at the horizon.

    Settling has a cosine of its own.
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if step >= settings.steps:
        done = (step - settings.steps) / max(settings.settling_steps, 1)
        return cosine(settings.settling_learning_rate, done)
    cooled = step - (settings.horizon - settings.cooling_steps)
    return cosine(settings.learning_rate, max(0.0, cooled / max(settings.cooling_steps, 1)))


def mend(
    world: World,
    begin: str,
    settings: MendSettings,
    run: Run,
    *,
    device: str,
    workers: int,
    minutes: float,
    save_every: int = 50,
    score_every: int = 150,
) -> Patient | None:
    """Train to the end, or until the leg's minutes are over (then None)."""
    run.check_settings(settings)
    patient = Patient(begin, settings, world).to(device)
    optimizer = build_optimizer(patient, settings.weight_decay)
    step = run.resume(patient, optimizer)
    plain = BatchMaker(world, patient.tokenizer, settings.batch_size, settings.questions)
    seed = (settings.seed, SCENE_SEED)
    deadline = time.monotonic() + 60 * minutes
    began, begun_at, recent = time.monotonic(), step, 0.0
    plan = PLANS[settings.plan]
    drawn = chain(
        batches(replace(plain, hardening=plan.mending), seed, step, settings.steps, 0, workers),
        batches(
            replace(plain, hardening=plan.settling),
            seed,
            max(step, settings.steps),
            settings.all_steps,
            0,
            workers,
        ),
    )
    for batch in legs(drawn, deadline):
        patient.train()
        for group in optimizer.param_groups:
            group["lr"] = mend_rate(settings, step)
        loss = patient.loss(batch.to(device), settings, settling=step >= settings.steps)
        descend(patient, optimizer, loss)
        step += 1
        recent = 0.95 * recent + 0.05 * loss.item() if recent else loss.item()
        if step % 25 == 0 or step == settings.all_steps:
            pace = (step - begun_at) * settings.batch_size / (time.monotonic() - began)
            run.note(step=step, loss=round(recent, 4), scenes_per_second=round(pace, 1))
        if step % score_every == 0:
            note_scores(patient.model, plain, run, step, settings.seed)
        if step % save_every == 0:
            run.save(patient, optimizer, step)
    run.save(patient, optimizer, step)
    return patient if step >= settings.all_steps else None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--world", required=True, help="packed pictures and notes")
    parser.add_argument("--begin", required=True, help="a folder with the weights to begin from")
    parser.add_argument("--run", required=True, type=Path, help="checkpoint and log")
    parser.add_argument("--out", required=True, type=Path, help="where the finished model goes")
    parser.add_argument("--minutes", default=math.inf, type=float, help="end this leg after")
    parser.add_argument("--workers", default=1, type=int, help="processes that draw scenes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, value in asdict(MendSettings()).items():
        kind = cast("Any", type(value))
        choices = tuple(PLANS) if name == "plan" else None
        parser.add_argument(
            f"--{name.replace('_', '-')}", default=value, type=kind, choices=choices
        )
    arguments = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = MendSettings(**{name: arguments[name] for name in asdict(MendSettings())})
    patient = mend(
        load_world(arguments["world"]),
        arguments["begin"],
        settings,
        Run(arguments["run"]),
        device=arguments["device"],
        workers=arguments["workers"],
        minutes=arguments["minutes"],
    )
    if patient is not None:
        begin = Path(arguments["begin"])
        told = json.loads((begin / "training.json").read_text())
        told["mendings"] = [*told.get("mendings", ()), asdict(settings)]
        arguments["out"].mkdir(parents=True, exist_ok=True)
        save_starter(patient.model, patient.tokenizer, arguments["out"], told)
        for name in AS_BEFORE:  # loading has left its marks in them
            shutil.copy(begin / name, arguments["out"] / name)
        log.info("the starter is in %s", arguments["out"])


if __name__ == "__main__":
    main()
