"""`videollama2 caption INPUT OUT`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from videollama2.cli import options
from videollama2.cli.console import (
    CANNOT,
    WRONG_USAGE,
    exit_codes,
    fail,
    note,
    settle_output,
)

if TYPE_CHECKING:
    from videollama2.scale.bulk import Outcome, Tally

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 caption clips/ captions.jsonl

  videollama2 caption clips.txt answers.parquet --questions questions.txt

  videollama2 caption 'shards/{000..099}.tar' out.jsonl --model ./VideoLLaMA2.1-7B-AV --share 3/16

  videollama2 caption clips/ captions.jsonl --workers 8
"""
_READ, _SPEED = "Reading", "Speed"
_MIB = 1024**2


def caption(
    given: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="A folder, a clip, a pattern, a list (.txt, .jsonl), .parquet or .tar shards.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="A .jsonl or .parquet file, or with --format srt a folder.",
            show_default=False,
        ),
    ],
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help='What is asked of each clip; repeat it ("Describe what is seen and heard.").',
            show_default=False,
        ),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Questions, one a line.", show_default=False),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", help="jsonl, parquet or srt (by OUT's ending).", show_default=False
        ),
    ] = None,
    share: Annotated[
        str,
        typer.Option(metavar="I/N", help="Only this one of N equal parts, from 0/N on."),
    ] = "0/1",
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only the first N clips.", show_default=False),
    ] = None,
    model: options.Model = "starter",
    device: options.Device = None,
    dtype: options.DtypeOption = None,
    num_frames: options.NumFrames = None,
    sound: options.Sound = None,
    max_new_tokens: options.MaxNewTokens = 256,
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 0.9,
    seed: Annotated[int, typer.Option(metavar="N", help="For drawing; the same for all.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Processes with a model each (as many as there are GPUs, else 1).",
            rich_help_panel=_SPEED,
            show_default=False,
        ),
    ] = None,
    readers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Clips that each of them reads at a time (by CPUs).",
            rich_help_panel=_SPEED,
            show_default=False,
        ),
    ] = None,
    batch_tokens: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Clips answered together hold at most so many tokens; less takes less memory.",
            rich_help_panel=_SPEED,
        ),
    ] = 32_768,
    read_timeout: Annotated[
        float,
        typer.Option(min=1.0, metavar="S", help="Give a clip up after it.", rich_help_panel=_READ),
    ] = 120.0,
    max_media_mib: Annotated[
        int,
        typer.Option(
            min=1, help="Largest clip in a shard or table, or fetched.", rich_help_panel=_READ
        ),
    ] = 1024,
) -> None:
    """Describe many clips, or ask each the same questions: a row for each, whatever happens.

    The same command again goes on where it stopped. A clip that cannot be read is a row with the
    reason. JSON Lines grow while it runs; other forms are made at the end.
    """
    settle_output()
    with exit_codes():
        from videollama2.assistant import resolve
        from videollama2.reading.pool import prepare
        from videollama2.scale.bulk import Job, read_questions, run
        from videollama2.scale.captioner import DEFAULT_PROMPT, Asking
        from videollama2.scale.clips import Share
        from videollama2.scale.crew import NEEDS, ModelSettings, Work
        from videollama2.scale.intake import ReadSettings, default_readers
        from videollama2.scale.output import form_of

        if prompt and questions is not None:
            fail("--prompt and --questions do not go together", WRONG_USAGE)
        prompts = tuple(prompt or (DEFAULT_PROMPT,))
        if questions is not None:
            prompts = read_questions(questions)
        asking = Asking(prompts, max_new_tokens, temperature, top_p, seed, batch_tokens)
        _ = asking.sampling  # out of range is said before anything is loaded
        job = Job(given, out, form_of(out, form), Share.parse(share), limit)
        resolve(model)
        devices = _devices(device, workers)
        reading = ReadSettings(
            num_frames,
            sound,
            readers or default_readers(len(devices)),
            read_timeout,
            max_medium_bytes=max_media_mib * _MIB,
        )
        kind = None if dtype is None else dtype.value
        works = [Work(ModelSettings(model, one, kind), asking, reading) for one in devices]
        prepare(*NEEDS)
        with _Progress() as progress:
            outcome = run(job, works, progress=progress)
        _conclude(outcome, out)


def _devices(device: str | None, workers: int | None) -> list[str | None]:
    """A device for each process."""
    import torch

    if device is not None or not torch.cuda.is_available():
        return [device] * (workers or 1)
    count = torch.cuda.device_count()
    return [f"cuda:{place % count}" for place in range(workers or count)]


def _conclude(outcome: Outcome, out: Path) -> None:
    tally = outcome.tally
    if outcome.duplicates:
        note(f"{outcome.duplicates:,} clips were named twice: one row each")
    if outcome.ignored:
        note(f"{outcome.ignored:,} files are no media: left out")
    if tally.failed:
        note(f"{tally.failed:,} of {tally.total:,} clips could not be answered: see their reasons")
    note(f"{tally.done:,} rows in {out}")
    if tally.failed == tally.total:
        raise typer.Exit(CANNOT)


class _Progress:
    """Clips, clips a second, seconds of video a second, and the time that is left."""

    def __init__(self) -> None:
        self._every_s = 1.0 if sys.stderr.isatty() else 10.0
        self._began = self._said = time.monotonic()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if sys.stderr.isatty():
            note("")

    def __call__(self, tally: Tally) -> None:
        now = time.monotonic()
        new = tally.done - tally.before
        if tally.done == tally.before:
            if tally.before:
                note(f"{tally.before:,} of {tally.total:,} rows are there: going on")
            self._began = now
            return
        if now - self._said < self._every_s and tally.done < tally.total:
            return
        self._said, took = now, max(now - self._began, 1e-3)
        left = took / new * (tally.total - tally.done)
        line = (
            f"{tally.done:,} of {tally.total:,} clips ({tally.failed:,} failed), "
            f"{new / took:.2f} clips/s, {tally.seconds / took:.1f} s of video a second, "
            f"{tally.tokens / took:.0f} tokens/s, about {_clock(left)} left"
        )
        if sys.stderr.isatty():
            typer.echo(f"\r\x1b[K{line}", err=True, nl=False)
        else:
            note(line)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
