"""`videollama2 eval BENCHMARK...`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
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
    write,
)

if TYPE_CHECKING:
    from videollama2.evaluation.answering import Answerer
    from videollama2.evaluation.judge import Judge
    from videollama2.evaluation.preparing import Preparation
    from videollama2.evaluation.report import Entry
    from videollama2.evaluation.run import Choice
    from videollama2.evaluation.sharding import Place
    from videollama2.evaluation.task import Scoring, Task

EXAMPLES = """
[bold]Examples[/bold]

  videollama2 eval --list

  videollama2 eval mvbench --prepare --data eval

  videollama2 eval mvbench egoschema --model DAMO-NLP-SG/VideoLLaMA2-7B --data eval --out runs/a

  videollama2 eval msvd_qa --data eval --out runs/a --judge-url URL --judge-model NAME

  videollama2 eval mvbench --endpoint http://localhost:8000/v1 --model qwen --data eval --out runs/b

  videollama2 eval mvbench --engine vllm --batch-size 256 --data eval --out runs/c

  videollama2 eval --compare runs/a runs/b

  torchrun --nproc-per-node 8 -m videollama2 eval mvbench --data eval --out runs/a
"""
_PROGRESS_S = 10.0
_JUDGE, _WHAT, _SERVER = "Judge", "What is asked", "Server"


class ScoringOption(StrEnum):
    """Which scoring is shown first."""

    both = "both"
    released = "released"
    strict = "strict"


def evaluate(
    benchmarks: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BENCHMARK]...", help="--list names them.", show_default=False),
    ] = None,
    model: options.Model = "starter",
    data: Annotated[
        Path | None,
        typer.Option(help="The folder of all benchmarks, or of this one.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where answers and reports go; the same again resumes.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Only so many questions, evenly spread.", rich_help_panel=_WHAT
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Which questions (the benchmark's own).", rich_help_panel=_WHAT),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Questions answered at once.", rich_help_panel=_WHAT),
    ] = 8,
    num_frames: options.NumFrames = None,
    device: options.Device = None,
    dtype: options.DtypeOption = None,
    quantize: options.QuantizeOption = None,
    scoring: Annotated[
        ScoringOption,
        typer.Option(help="released: as the authors score; strict: an unparsable answer is wrong."),
    ] = ScoringOption.both,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0.0, metavar="T", help="0 is greedy (the benchmark's own).", show_default=False
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Longest answer (2048, as released).", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="For drawing and for intervals.")] = 0,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Answer through this OpenAI-compatible server; --model is its model. "
            "OPENAI_API_KEY is its key.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    engine: Annotated[
        options.Engine,
        typer.Option(
            help="own, or vllm: many questions at once, --batch-size 256 or so (docs/vllm.md)."
        ),
    ] = options.Engine.own,
    judge_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An OpenAI-compatible server as the judge; JUDGE_API_KEY or OPENAI_API_KEY.",
            rich_help_panel=_JUDGE,
        ),
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option(help="Its model.", rich_help_panel=_JUDGE, show_default=False)
    ] = None,
    judge_workers: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Verdicts asked at once.", rich_help_panel=_JUDGE),
    ] = 8,
    list_all: Annotated[
        bool, typer.Option("--list", help="Say which benchmarks there are, and from where.")
    ] = False,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Say which files must lie where, and check them.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare the output folders of two runs: A B.")
    ] = False,
) -> None:
    """Answer benchmarks and score them as their authors do, with error bars.

    The same command again goes on where it stopped.
    """
    named = benchmarks or []
    if list_all:
        _list()
        return
    with exit_codes():
        from videollama2.evaluation.run import Choice

        choice = Choice(split, limit, batch_size, temperature, max_new_tokens, seed)
        if compare:
            _compare(named, scoring, seed)
            return
        tasks = _tasks(named)
        if data is None:
            fail("say with --data where the benchmarks' files lie", WRONG_USAGE)
        if prepare:
            _prepare(tasks, data, choice)
            return
        if out is None:
            fail("say with --out where answers and reports go", WRONG_USAGE)
        if endpoint is not None and engine is not options.Engine.own:
            fail("--endpoint and --engine do not go together", WRONG_USAGE)
        if (judge_url is None) != (judge_model is None):
            fail("--judge-url and --judge-model go together", WRONG_USAGE)
        judge = _judge(judge_url, judge_model, judge_workers)
        _run(
            tasks,
            data,
            out,
            choice,
            judge,
            lambda place: _answerer(
                model, endpoint, engine, num_frames, device, dtype, place, quantize
            ),
            scoring,
        )


def _tasks(named: Sequence[str]) -> list[Task]:
    from videollama2.evaluation.registry import find

    if not named:
        fail("say which benchmarks; --list names them", WRONG_USAGE)
    return list({task.name: task for task in map(find, named)}.values())


def _judge(url: str | None, model: str | None, workers: int) -> Judge | None:
    if url is None or model is None:
        return None
    from videollama2.evaluation.client import ChatClient
    from videollama2.evaluation.judge import Judge

    key = os.environ.get("JUDGE_API_KEY")
    return Judge(ChatClient(url, model, key=key), workers=workers, say=note)


def _answerer(
    model: str,
    endpoint: str | None,
    engine: options.Engine,
    num_frames: int | None,
    device: str | None,
    dtype: options.Dtype | None,
    place: Place,
    quantize: options.Quantize | None = None,
) -> Answerer:
    if endpoint is not None:
        from videollama2.evaluation.client import ChatClient
        from videollama2.evaluation.endpoint import Endpoint

        return Endpoint.connect(ChatClient(endpoint, model), num_frames)
    if engine is options.Engine.vllm:
        if quantize is not None:
            fail("--quantize is for our own engine: leave --engine out", WRONG_USAGE)
        return _in_vllm(model, num_frames, device, dtype, place)
    import torch

    from videollama2.cli.loading import load_assistant
    from videollama2.evaluation.local import LocalModel

    if device is None and place.world > 1 and torch.cuda.is_available():
        device = f"cuda:{place.local_rank}"
    return LocalModel.of(load_assistant(model, device, dtype, num_frames, quantize), num_frames)


def _in_vllm(
    model: str,
    num_frames: int | None,
    device: str | None,
    dtype: options.Dtype | None,
    place: Place,
) -> Answerer:
    if device is not None:
        fail("--engine vllm runs where its installation does: leave --device out", WRONG_USAGE)
    if place.world > 1:
        fail("--engine vllm starts its own processes: run it once, without a launcher", WRONG_USAGE)
    from videollama2.assistant import resolve
    from videollama2.engines.vllm.missing import MissingVllmError
    from videollama2.engines.vllm.offline import OfflineEngine
    from videollama2.engines.vllm.settings import EngineOptions
    from videollama2.evaluation.local import LocalModel

    chosen = EngineOptions(dtype=None if dtype is None else dtype.value)
    try:
        engine = OfflineEngine(resolve(model), chosen, num_frames=num_frames)
    except MissingVllmError as error:
        fail(str(error))
    return LocalModel(model, engine.config, engine)


def _run(
    tasks: Sequence[Task],
    data: Path,
    out: Path,
    choice: Choice,
    judge: Judge | None,
    make: Callable[[Place], Answerer],
    scoring: ScoringOption,
) -> None:
    settle_output()
    from videollama2.evaluation.local import LocalModel
    from videollama2.evaluation.session import Session
    from videollama2.evaluation.sharding import Place

    place = Place.of_environment()
    session = Session(data, out, choice, place, _Progress(place))
    questions = [session.questions(task) for task in tasks]  # what is wrong is said at once
    answerer = make(place)
    if isinstance(answerer, LocalModel):
        for task in tasks:
            answerer.check(task)
    entries: list[Entry] = []
    for task, asked in zip(tasks, questions, strict=True):
        entry = session.run(task, asked, answerer, judge)
        if entry is not None:
            entries.append(entry)
            if "problem" in entry.judge:
                judge = None  # it is down: the others are answered all the same
    if place.first:
        session.report(entries)
        _show(entries, out, scoring)
    place.leave()
    problems = {str(one.judge["problem"]) for one in entries if "problem" in one.judge}
    if problems:
        fail("; ".join(problems), CANNOT)


def _show(entries: Sequence[Entry], out: Path, scoring: ScoringOption) -> None:
    from videollama2.evaluation.report import HEADER, main_rows, remarks

    hidden = {ScoringOption.released: "strict", ScoringOption.strict: "released"}.get(scoring)
    columns = [place for place, name in enumerate(HEADER) if name != hidden]
    rows = [[row[place] for place in columns] for entry in entries for row in main_rows(entry)]
    _table([HEADER[place] for place in columns], rows)
    for entry in entries:
        for line in remarks(entry):
            note(f"{entry.task.title}: {line}")
    note(f"reports: {out / 'report.md'}, {out / 'report.html'}, {out / 'report.json'}")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere a line a row, tabs between."""
    if not sys.stdout.isatty():
        write("".join("\t".join(row) + "\n" for row in (header, *rows)))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*header)
    for row in rows:
        table.add_row(*(text.replace("[", "\\[") for text in row))
    Console().print(table)


class _Progress:
    """Says on the first process's stderr every few seconds how far things are."""

    def __init__(self, place: Place) -> None:
        self._quiet = not place.first
        self._said = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._quiet and (now - self._said >= _PROGRESS_S or done == total):
            self._said = now
            note(f"{what} {done:,} of {total:,}")


def _list() -> None:
    from videollama2.evaluation.registry import all_tasks

    header = ("name", "title", "questions", "shows", "metrics", "splits", "licence", "from")
    rows = [_described(task) for task in all_tasks().values()]
    if sys.stdout.isatty():
        _table(header, rows)
    else:
        write("".join("\t".join(row) + "\n" for row in rows))


def _described(task: Task) -> tuple[str, ...]:
    return (
        task.name,
        task.title,
        f"{task.size:,}",
        task.modality,
        ", ".join(metric.name for metric in task.metrics),
        ", ".join(task.splits),
        task.licence,
        task.source,
    )


def _prepare(tasks: Sequence[Task], data: Path, choice: Choice) -> None:
    from videollama2.evaluation.preparing import prepare

    found = [prepare(task, data, choice) for task in tasks]
    for one in found:
        _say_prepared(one)
    if not all(one.complete for one in found):
        raise typer.Exit(CANNOT)


def _say_prepared(found: Preparation) -> None:
    task = found.task
    write(f"{task.title}, from {task.source} ({task.licence}), in {found.root}:\n")
    for file in found.files:
        write(f"  {file.file.path}\t{file.state}\t{file.file.what}\n")
    if found.problem is not None:
        write(f"  cannot be asked: {found.problem}\n")
        return
    write(f"  {found.questions:,} questions, {found.without:,} without their media\n")
    for name in found.first:
        write(f"    missing: {name}\n")


def _compare(named: Sequence[str], scoring: ScoringOption, seed: int) -> None:
    from videollama2.evaluation.comparing import COMPARED, compare_runs, model_of
    from videollama2.evaluation.task import SCORINGS

    if len(named) != 2:
        fail("--compare takes the output folders of two runs", WRONG_USAGE)
    wanted: Sequence[Scoring] = [one for one in SCORINGS if scoring in ("both", one)]
    found, left = compare_runs(Path(named[0]), Path(named[1]), wanted, seed=seed)
    _table(COMPARED, [one.row() for one in found])
    for line in left:
        note(line)
    one, other = (f"{model_of(Path(folder))} ({folder})" for folder in named)
    note(f"A is {one}, B is {other}; 95 % intervals of B - A, bootstrap over videos")
