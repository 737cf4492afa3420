"""`videollama2 data check FILES...`: read all that training would read, and say what fails."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from videollama2.cli.console import CANNOT, exit_codes, fail, note, settle_output, write
from videollama2.cli.progress import Progress

if TYPE_CHECKING:
    from videollama2.training.check import CheckOptions, Entry, Findings
    from videollama2.training.lengths import Lengths
    from videollama2.training.recipe import DataFile, DataSection
    from videollama2.training.records import Record

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 data check records.json --folder /data

  videollama2 data check a.jsonl b.jsonl --headers --workers 16 --out report.jsonl

  videollama2 data check records.json --write-good good.jsonl --refuse silent

  videollama2 data check shards/shards.json --model starter

  videollama2 data check --recipe audio_visual_joint data.files=records.json
"""
_SHOWN = 3


def check(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILES]...",
            help="Lists of records or shards; with --recipe its key=value settings.",
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Check what this recipe would read.", show_default=False)
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where relative media paths begin.")] = Path(),
    sound: Annotated[
        bool | None,
        typer.Option(
            "--sound/--no-sound",
            help="Videos must have sound, or are not heard. By default: heard where they have it.",
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Frames read of each video.", show_default="the model's, or 16"),
    ] = None,
    headers: Annotated[
        bool, typer.Option("--headers", help="Look at headers alone: quick, and misses damage.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that read.", show_default="one for each core"),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that one medium may take.")] = 120,
    out: Annotated[
        Path | None,
        typer.Option(help="Report to write, or to go on with (JSON Lines).", show_default=False),
    ] = None,
    write_good: Annotated[
        Path | None, typer.Option(help="Write the records that are well.", show_default=False)
    ] = None,
    refuse: Annotated[
        list[str] | None,
        typer.Option(
            help='Count as wrong, too: "silent", "no soundtrack", "sound shorter than pictures".'
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Tell token lengths for this model.", show_default=False)
    ] = None,
) -> None:
    """Read every record and every file that it names, and say what cannot be used.

    Media are really decoded, as training would, in processes of their own: a file that crashes
    or hangs a decoder is one more bad file. Exit status 1 when anything is wrong. With --out, a
    check that was stopped goes on where it was, and files that have not changed are not read
    again.
    """
    with exit_codes():
        settle_output()
        from videollama2.media.limits import DEFAULT_LIMITS
        from videollama2.training.check import CheckOptions

        data = _data(files or [], recipe, folder, sound)
        lengths = None
        if model is not None:
            from videollama2.training.lengths import Lengths

            lengths = Lengths.of(model)
        options = CheckOptions(
            num_frames=frames or (lengths.num_frames if lengths else 16),
            headers=headers,
            workers=workers or os.cpu_count() or 1,
            timeout_s=timeout,
            refuse=frozenset(refuse or ()),
            limits=replace(DEFAULT_LIMITS, allow_private_hosts=data.allow_private_hosts),
        )
        findings = _check(data, options, out, lengths)
        _say(findings, lengths)
        bad = len(findings.bad())
        if write_good is not None:
            _write_good(findings, data.files, write_good)
        if bad:
            fail(f"{bad:,} of {len(findings.entries):,} records cannot be used", CANNOT)


def _data(files: list[str], recipe: str | None, folder: Path, sound: bool | None) -> DataSection:
    from videollama2.training.recipe import DataFile, DataSection

    if recipe is not None:
        from videollama2.training.recipe_file import load_recipe

        found = load_recipe(recipe, files).data
        if not found.files:
            raise ValueError(f"{recipe} has no data.files: say data.files=records.json")
        return found
    if not files:
        raise ValueError("say which lists of records: videollama2 data check records.json")
    lists = (DataFile(path=file, folder=str(folder), sound=sound) for file in files)
    return DataSection(files=tuple(lists))


def _check(
    data: DataSection, options: CheckOptions, out: Path | None, lengths: Lengths | None
) -> Findings:
    from videollama2.training.check import check_lists
    from videollama2.training.data import expected_records, iterate_list

    def on_record(entry: Entry, record: Record) -> None:
        if lengths is not None:
            lengths.note(entry, record)

    def reader(file: DataFile) -> Callable[[], Any]:
        return lambda: iterate_list(file, data)

    with Progress("media") as progress:
        return check_lists(
            [reader(file) for file in data.files],
            options,
            report=out,
            expected=sum(expected_records(file) for file in data.files),
            progress=progress,
            on_record=on_record,
        )


def _write_good(findings: Findings, lists: tuple[DataFile, ...], out: Path) -> None:
    from videollama2.training.check import write_good
    from videollama2.training.data import iterate_list_values

    if len({file.folder for file in lists}) > 1:
        raise ValueError("--write-good takes lists of one folder: check them one at a time")

    def reader(file: DataFile) -> Callable[[], Any]:
        return lambda: iterate_list_values(file)

    count = write_good(findings, [reader(file) for file in lists], out)
    note(f"{count:,} records in {out}")


def _say(findings: Findings, lengths: Lengths | None) -> None:
    lines = [f"records  {len(findings.entries):,}"]
    lines += [f"  {kind:<24} {n:,}" for kind, n in sorted(findings.kinds().items())]
    taken = f" ({findings.taken_over:,} known from the report)" if findings.taken_over else ""
    lines.append(f"media    {len(findings.media):,}{taken}")
    lines += [f"  {what:<24} {n:,}" for what, n in sorted(findings.notes().items())]
    lines += _spread("seconds", findings.durations_s())
    if lengths is not None:
        lines += _spread("tokens", [*map(float, lengths.counts(findings))])
    bad = findings.bad()
    counts = Counter(entry.problem for entry in bad)
    if bad:
        lines.append(f"wrong    {len(bad):,}")
    for problem, n in counts.most_common():
        lines.append(f"  {problem:<24} {n:,}")
        examples = [entry for entry in bad if entry.problem == problem][:_SHOWN]
        for one in examples:
            lines.append(f"    {one.file}:{one.line}: {one.reason}")
    write("\n".join(lines) + "\n")


def _spread(what: str, values: list[float]) -> list[str]:
    if not values:
        return []
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    return [
        f"{what:<8} {sum(ordered):,.0f} in all; least {ordered[0]:,.1f}, "
        f"median {middle:,.1f}, most {ordered[-1]:,.1f}"
    ]
