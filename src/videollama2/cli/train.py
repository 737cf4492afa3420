"""`videollama2 train RECIPE [key=value ...]`."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from videollama2.cli.console import (
    WRONG_USAGE,
    exit_codes,
    fail,
    note,
    settle_output,
    working,
    write,
)

if TYPE_CHECKING:
    from videollama2.training.plan import Plan
    from videollama2.training.recipe import Recipe

TERMINATED = 143  # 128 + SIGTERM, as shells say it

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 train video_pretrain --dry-run

  videollama2 train video_finetune model.start=runs/video_pretrain/model data.files=records.json

  videollama2 train lora model.start=starter data.files=records.json batch.total=8

  videollama2 train recipes/lora.yaml values=released run.folder=runs/mine

  videollama2 train lora data.files=records.json parallel.kind=fsdp2 --processes 8

  videollama2 train lora data.files=records.json parallel.kind=fsdp2 --processes 32 --ray auto
"""


def train(
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A recipe's name or the path of its YAML file."),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings on top, nested by dots."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would train, and how long; read no weights."),
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes", min=1, help="Train on so many devices of this machine, or of a cluster."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Train on a Ray cluster: auto, HOST:PORT, or local for one of this machine.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a stage, or go on with a run that was stopped.

    On several machines, torchrun starts this same command, or Ray: docs/training.md.
    """
    with exit_codes():
        settle_output()
        _check_installed()
        from videollama2.training.recipe_file import load_recipe

        resolved = load_recipe(recipe, settings or ())
        if dry_run:
            _plan(resolved, processes)
        elif ray is not None:
            _on_ray(resolved, [recipe, *(settings or ())], ray, processes)
        elif processes is not None:
            _launch(resolved, processes, [recipe, *(settings or ())])
        else:
            _train(resolved)


def _check_installed() -> None:
    try:
        import pydantic  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import yaml  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        fail("training needs more packages: pip install 'videollama2[train]'")


def _train(recipe: Recipe) -> None:
    from videollama2.training.parallel import end, is_first_process
    from videollama2.training.run import train

    spoken = logging.getLogger("videollama2.training")
    spoken.handlers = [_Notes()]
    spoken.setLevel(logging.INFO)
    outcome = train(recipe, progress=sys.stderr.isatty())
    end()
    if outcome.model is None:
        raise typer.Exit(TERMINATED)
    if is_first_process():
        write(f"{outcome.model}\n")


class _Notes(logging.Handler):
    """The library's log on stderr, as it is now: a progress bar may stand in between."""

    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


def _on_ray(recipe: Recipe, words: list[str], address: str, processes: int | None) -> None:
    from videollama2.training.on_ray import train_on_ray

    write(f"{train_on_ray(recipe, words, address, processes)}\n")


def _launch(recipe: Recipe, processes: int, arguments: list[str]) -> None:
    """Become the launcher of so many processes of this command."""
    if "WORLD_SIZE" in os.environ:
        fail("--processes starts processes, and a launcher has done so already", WRONG_USAGE)
    recipe.batch.accumulation(processes)  # said once here, not by each of them
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    here = ["--nproc-per-node", str(processes), "-m", "videollama2", "train"]
    os.execv(sys.executable, [*launcher, *here, *arguments])  # noqa: S606  (no shell is wanted)


def _plan(recipe: Recipe, processes: int | None) -> None:
    from videollama2.training.parallel import devices
    from videollama2.training.plan import plan

    half = recipe.optimizer.precision != "float32"
    number = processes or devices()
    with working("counting the memory of a step"):
        planned = plan(recipe, devices=number, half=half)
    for line in planned.warnings:
        note(f"warning: {line}")
    write("\n".join(_lines(recipe, planned, number, half)) + "\n")


def _lines(recipe: Recipe, planned: Plan, number: int, half: bool) -> list[str]:
    lines = [
        f"{recipe.stage}, values={recipe.values}",
        "",
        "part              parameters     trainable",
    ]
    for part in planned.parts:
        of_adapters = f"  ({part.adapters:,} in adapters)" if part.adapters else ""
        lines.append(f"{part.part:<16} {part.total:>15,}  {part.trainable:>15,}{of_adapters}")
    tokens = ", ".join(f"{kind} {count}" for kind, count in planned.tokens.items())
    records = "unknown" if planned.records is None else f"{planned.records:,}"
    steps = "unknown until data.files are there" if planned.steps is None else f"{planned.steps:,}"
    memory = planned.memory
    pieces = [f"{name} {_size(getattr(memory, name))}" for name in ("weights", "optimizer", "step")]
    shared = f", {recipe.parallel.kind}" if number > 1 else ""
    return [
        *lines,
        "",
        f"tokens a sample   {tokens}",
        f"batch             {recipe.batch.total} = {number} device(s) x {recipe.batch.per_device} "
        f"x {planned.accumulation} accumulated",
        f"records an epoch  {records}",
        f"steps             {steps}",
        f"memory, estimated {_size(memory.total)} on each device in "
        f"{'bfloat16' if half else 'float32'}{shared} ({', '.join(pieces)})",
    ]


def _size(number: int) -> str:
    """Bytes, for people."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"
