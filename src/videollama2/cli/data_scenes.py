"""`videollama2 data scenes OUT`: a small made data set to try a training with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videollama2.cli.console import exit_codes, note, settle_output

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 data scenes week

  videollama2 data scenes week --clips 1000 --held-out 200 --seed 7
"""
_SAY_EVERY = 50


def scenes(
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    clips: Annotated[int, typer.Option(min=0, help="Clips to learn from.")] = 400,
    held_out: Annotated[int, typer.Option(min=0, help="Clips that the benchmarks ask of.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Which scenes are drawn.")] = 0,
    size: Annotated[int, typer.Option(min=32, help="Pixels a side; even.")] = 128,
    world: Annotated[
        Path | None,
        typer.Option(help="Pictures and notes packed for `make starter`; else shapes and tones."),
    ] = None,
) -> None:
    """Write made clips with sound, records to train on, and three benchmarks in their own forms.

    Things that move and sound, drawn from a seed: video.json, audio.json and audio_visual.json
    are records for `videollama2 train`, benchmarks/ is a --data folder for `videollama2 eval`
    (egoschema, clotho_aqa and scenes). Clips that are there already are kept.
    """
    with exit_codes():
        settle_output()
        from videollama2.scenes.folder import write_folder
        from videollama2.scenes.world import load_world

        def told(done: int, of: int) -> None:
            if done % _SAY_EVERY == 0 or done == of:
                note(f"{done} of {of} clips")

        written = write_folder(
            load_world(world),
            out,
            clips=clips,
            held_out=held_out,
            seed=seed,
            size=size,
            told=told,
        )
        for name, count in written.records.items():
            note(f"{count:,} records in {out / name}.json")
        for name, count in written.benchmarks.items():
            note(f"{count:,} questions of the form of {name} in {out / 'benchmarks'}")
