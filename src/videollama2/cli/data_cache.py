"""`videollama2 data cache RECIPE --out DIR`: what frozen encoders make of media, stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from videollama2.cli.console import CANNOT, exit_codes, fail, note, settle_output, write
from videollama2.cli.progress import Progress

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 data cache mine.yaml --out features data.files=records.json

  videollama2 train mine.yaml data.features=features data.files=records.json
"""
_SHOWN = 3


def cache(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe's name or the path of its YAML file.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings on top, as for train."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the features.")] = Path("features"),
    width: Annotated[
        Literal["auto", "bfloat16", "float32"],
        typer.Option(help="Numbers are kept as the encoders give them (auto), or so."),
    ] = "auto",
) -> None:
    """Run a recipe's frozen encoders over all its media once, and store what they make.

    With data.features=DIR the same recipe then trains without running them, nor reading the
    media. A call that was stopped goes on; encoders, media or settings that have changed are
    refused. Says beforehand how much room it takes, and at the end what it gains.
    """
    with exit_codes():
        settle_output()
        from videollama2.training.feature_cache import cache_features
        from videollama2.training.recipe_file import load_recipe

        resolved = load_recipe(recipe, settings or ())
        with Progress("media") as progress:
            cached = cache_features(
                resolved, out, width=width, progress=progress, estimated=_estimate
            )
        known = f", {cached.known:,} were there" if cached.known else ""
        note(f"{cached.media:,} media in {cached.bytes / 2**20:,.1f} MiB{known}")
        if cached.samples_s is not None:
            without, with_them = cached.samples_s
            note(f"samples a second without the features {without:.2f}, with them {with_them:.2f}")
        write(f"{out}\n")
        for reason in cached.failed[:_SHOWN]:
            note(f"  {reason}")
        if cached.failed:
            fail(f"{len(cached.failed):,} media cannot be read; training skips them", CANNOT)


def _estimate(needed: int, free: int) -> None:
    note(f"at most {needed / 2**30:,.2f} GiB more; {free / 2**30:,.1f} GiB are free")
