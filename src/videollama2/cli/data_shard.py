"""`videollama2 data shard RECORDS --out DIR`: records and their media as WebDataset shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videollama2.cli.console import CANNOT, exit_codes, fail, note, write
from videollama2.cli.progress import Progress

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 data shard records.jsonl --folder /data --out shards --shard-size 2000

  videollama2 train video_finetune data.files=shards/shards.json model.start=starter
"""
_SHOWN = 3


def shard(
    records: Annotated[Path, typer.Argument(help="A list of records (JSON or JSON Lines).")],
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    folder: Annotated[Path, typer.Option(help="Where relative media paths begin.")] = Path(),
    shard_size: Annotated[int, typer.Option(min=1, help="Records in one shard.")] = 1000,
) -> None:
    """Write records and the media they name into tar files of the WebDataset form.

    A sample is the record and its media; shards.json says how many each shard holds. The same
    list gives the same bytes. A call that was stopped goes on after the last whole shard. Records
    whose media cannot be found are left out and listed in left_out.jsonl: exit status 1.
    """
    with exit_codes():
        from videollama2.training.errors import TrainingError
        from videollama2.training.shard_writer import LEFT_OUT, write_shards

        try:
            with Progress("records") as progress:
                written = write_shards(
                    records, out, folder=folder, shard_size=shard_size, progress=progress
                )
        except OSError as error:
            raise TrainingError(f"{error.filename}: {error.strerror}") from error
        note(
            f"{written.records:,} records in {len(written.shards):,} shards"
            + (f", {written.taken_over:,} of them from before" if written.taken_over else "")
        )
        write(f"{out / 'shards.json'}\n")
        for row in written.left_out[:_SHOWN]:
            note(f"  {row['file']}:{row['line']}: {row['reason']}")
        if written.left_out:
            fail(f"{len(written.left_out):,} records are left out: {out / LEFT_OUT}", CANNOT)
