"""`videollama2 caption INPUT OUT`."""

from __future__ import annotations

import sys
import time
from functools import partial
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

  videollama2 caption clips/ captions.jsonl --ray auto
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
    engine: Annotated[
        options.Engine,
        typer.Option(help="What runs the model: vllm batches by itself.", rich_help_panel="Model"),
    ] = options.Engine.own,
    device: options.Device = None,
    dtype: options.DtypeOption = None,
    num_frames: options.NumFrames = None,
    sound: options.Sound = None,
    max_new_tokens: options.MaxNewTokens = 256,
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 0.9,
    seed: Annotated[int, typer.Option(metavar="N", help="For drawing; the same for all.")] = 0,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Compute on a Ray cluster: auto, HOST:PORT, or local for one of this machine.",
            rich_help_panel=_SPEED,
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Processes with a model each (as many as there are GPUs, else 1; with --ray else "
            "one for each machine).",
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
        from videollama2.engines.cluster import library
        from videollama2.reading.pool import prepare
        from videollama2.scale.bulk import Job, read_questions, run
        from videollama2.scale.captioner import DEFAULT_PROMPT, Asking
        from videollama2.scale.clips import Share
        from videollama2.scale.cluster import Cluster, caption_on_cluster
        from videollama2.scale.crew import NEEDS, caption_on_this_machine
        from videollama2.scale.intake import ReadSettings, default_readers
        from videollama2.scale.output import form_of
        from videollama2.scale.work import ModelSettings, Work

        if prompt and questions is not None:
            fail("--prompt and --questions do not go together", WRONG_USAGE)
        prompts = tuple(prompt or (DEFAULT_PROMPT,))
        if questions is not None:
            prompts = read_questions(questions)
        asking = Asking(prompts, max_new_tokens, temperature, top_p, seed, batch_tokens)
        _ = asking.sampling  # out of range is said before anything is loaded
        job = Job(given, out, form_of(out, form), Share.parse(share), limit)
        resolve(model)
        if engine is options.Engine.vllm:
            _check_vllm(ray, device, workers)
        one = ray is not None or engine is options.Engine.vllm
        devices = [device] if one else _devices(device, workers)
        reading = ReadSettings(
            num_frames,
            sound,
            readers or default_readers(len(devices)),
            read_timeout,
            max_medium_bytes=max_media_mib * _MIB,
        )
        kind = None if dtype is None else dtype.value
        works = [
            Work(ModelSettings(model, one, kind), asking, reading, engine.value) for one in devices
        ]
        if ray is None:
            prepare(*NEEDS)
            answered = partial(caption_on_this_machine, works)
        else:
            library()
            answered = partial(caption_on_cluster, Cluster(ray, workers, readers), works[0])
        with _Progress() as progress:
            outcome = run(job, works[0], answered, progress=progress)
        _conclude(outcome, out)


def _check_vllm(ray: str | None, device: str | None, workers: int | None) -> None:
    from videollama2.engines.vllm.missing import MissingVllmError, need_vllm

    if device is not None:
        fail("vLLM finds its device itself: leave --device out", WRONG_USAGE)
    if ray is not None:  # the cluster's environment has it
        return
    if (workers or 1) > 1:
        fail("several vLLM beside each other need a GPU each: say --ray local", WRONG_USAGE)
    try:
        need_vllm()
    except MissingVllmError as error:
        fail(str(error))


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
    """Clips, clips a second, seconds of video a second, and the time that is left.

    Rates count from the first rows on: until then models load.
    """

    def __init__(self) -> None:
        self._every_s = 1.0 if sys.stderr.isatty() else 10.0
        self._said = time.monotonic()
        self._first: tuple[float, Tally] | None = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if sys.stderr.isatty():
            note("")

    def __call__(self, tally: Tally) -> None:
        now = time.monotonic()
        if tally.done == tally.before:
            if tally.before:
                note(f"{tally.before:,} of {tally.total:,} rows are there: going on")
            return
        self._first = self._first or (now, tally)
        if now - self._said < self._every_s and tally.done < tally.total:
            return
        self._said = now
        line = f"{tally.done:,} of {tally.total:,} clips ({tally.failed:,} failed)"
        line += _rates(now - self._first[0], self._first[1], tally)
        if sys.stderr.isatty():
            typer.echo(f"\r\x1b[K{line}", err=True, nl=False)
        else:
            note(line)


def _rates(took: float, first: Tally, tally: Tally) -> str:
    """What was done since the first rows, each second of it; nothing while there is no more."""
    new = tally.done - first.done
    if not new or took <= 0:
        return ""
    left = took / new * (tally.total - tally.done)
    return (
        f", {new / took:.2f} clips/s, {(tally.seconds - first.seconds) / took:.1f} s of video a "
        f"second, {(tally.tokens - first.tokens) / took:.0f} tokens/s, about {_clock(left)} left"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
