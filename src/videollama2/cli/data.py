"""`videollama2 data ...`: records for training."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from videollama2.cli import data_cache, data_check, data_scenes, data_shard
from videollama2.cli.console import CANNOT, WRONG_USAGE, exit_codes, fail, note, write

if TYPE_CHECKING:
    from videollama2.training.datasets.base import DataSet
    from videollama2.training.datasets.prepare import Tally

app = typer.Typer(help="Make and check the records that training reads.", no_args_is_help=True)

app.command("cache", epilog=data_cache.EXAMPLES)(data_cache.cache)
app.command("check", epilog=data_check.EXAMPLES)(data_check.check)
app.command("scenes", epilog=data_scenes.EXAMPLES)(data_scenes.scenes)
app.command("shard", epilog=data_shard.EXAMPLES)(data_shard.shard)

PREPARE_EXAMPLES = """
[bold]Examples[/bold]

  videollama2 data prepare --list

  videollama2 data prepare webvid-10m --root /data/webvid --out webvid.jsonl --limit paper

  videollama2 data prepare msvd --task qa --root /data/msvd --out msvd-qa.jsonl

  videollama2 data prepare clotho --root . --out clotho.jsonl --phrasing "What is heard?"
"""
_PROGRESS_S = 10.0


@app.command("prepare", epilog=PREPARE_EXAMPLES)
def prepare(
    name: Annotated[
        str | None, typer.Argument(help="A data set; --list names them.", show_default=False)
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(help="Its folder: annotations as published, and media.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The JSON Lines file to write.", show_default=False)
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="What to make of it (--list says what there is).")
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(metavar="N|paper", help='At most so many records; "paper": as the paper did.'),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which records a limit leaves.")] = 0,
    phrasing: Annotated[
        list[str] | None,
        typer.Option(help="A wording in place of the task's own; repeatable. \\n is a new line."),
    ] = None,
    annotation: Annotated[
        list[str] | None,
        typer.Option(help="An annotation file in place of the published name; repeatable."),
    ] = None,
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="Write records whose media are absent, too.")
    ] = False,
    list_all: Annotated[
        bool, typer.Option("--list", help="Say what there is, from where, under what licence.")
    ] = False,
) -> None:
    """Turn a data set's published annotations into records.

    Each record is one line of the released conversation form, its media path relative to --root.
    """
    if list_all:
        _list()
        return
    if name is None or root is None or out is None:
        fail("say which data set, --root and --out; --list names the data sets", WRONG_USAGE)
    with exit_codes():
        from videollama2.training.datasets.errors import DataSetError
        from videollama2.training.datasets.prepare import Choice
        from videollama2.training.datasets.prepare import prepare as write_records
        from videollama2.training.datasets.registry import find

        data_set = find(name)
        if not data_set.verified:
            note(f"{data_set.title}: its form is unverified; look at what comes out")
        choice = Choice(
            task=task,
            limit=_limit(limit, data_set),
            seed=seed,
            phrasings=tuple(text.replace("\\n", "\n") for text in phrasing or ()),
            annotations=tuple(annotation or ()),
            keep_missing=keep_missing,
        )
        try:
            tally = write_records(data_set, root, out, choice, _Progress())
        except DataSetError as error:
            fail(str(error), CANNOT)
        _summary(tally, out, keep_missing)


def _limit(text: str | None, data_set: DataSet) -> int | None:
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    if text != "paper":
        raise ValueError(f'--limit {text!r}: give a number, or "paper"')
    if data_set.paper_size is None:
        raise ValueError(f"the paper does not say how many records of {data_set.title} it took")
    return data_set.paper_size


class _Progress:
    """Says on stderr every few seconds how far things are."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, tally: Tally) -> None:
        now = time.monotonic()
        if now - self._said >= _PROGRESS_S:
            self._said = now
            note(f"{tally.seen:,} rows, {tally.absent:,} without their media")


def _summary(tally: Tally, out: Path, keep_missing: bool) -> None:
    note(f"{tally.written:,} records in {out}")
    if tally.absent:
        what = "kept" if keep_missing else "left out"
        note(f"{tally.absent:,} media files are absent, their records {what}:")
        for path in tally.first_absent:
            note(f"  {path}")
        note(f"  all of them: {tally.absent_list}")
    for title, counts in (("malformed", tally.malformed), ("passed over", tally.passed_over)):
        for reason, (count, where) in sorted(counts.items(), key=lambda item: -item[1][0]):
            note(f"{count:,} rows {title}: {reason} (first: {where})")


def _list() -> None:
    from videollama2.training.datasets.registry import data_sets

    rows = [_described(one) for one in data_sets().values()]
    if not sys.stdout.isatty():
        write("".join("\t".join(row) + "\n" for row in rows))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "what", "shows", "tasks", "paper", "licence", "from", "form")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _described(data_set: DataSet) -> tuple[str, ...]:
    size = "" if data_set.paper_size is None else f"{data_set.paper_size:,}"
    return (
        data_set.name,
        data_set.title,
        data_set.kind,
        ",".join(task.name for task in data_set.tasks),
        "; ".join(filter(None, (size, data_set.paper_note))) or "not said",
        data_set.licence if data_set.licence_verified else f"{data_set.licence} (unverified)",
        data_set.source,
        "verified" if data_set.verified else "unverified",
    )
