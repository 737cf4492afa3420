"""What a run comes to, in words and tables: the common part of all reports, Markdown and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from videollama2.evaluation.published import published, published_of
from videollama2.evaluation.samples import Sample
from videollama2.evaluation.summary import ALL, Figure, Summary
from videollama2.evaluation.task import SCORINGS, Metric, Task

HEADER = ("benchmark", "metric", "released", "strict", "published", "questions")


@dataclass(frozen=True)
class Entry:
    """One benchmark of a report.

    `settings` are those of the run (model, frames, decoding, split); `judge` is the judging model
    and how it was asked, empty without one. `submission`: what to say of the file for the
    benchmark's own server, where it has one.
    """

    task: Task
    summary: Summary
    samples: Sequence[Sample]
    settings: Mapping[str, Any]
    judge: Mapping[str, Any] = field(default_factory=dict[str, Any])
    submission: str = ""


def cell(figure: Figure | None, metric: Metric) -> str:
    """A figure with its interval, or why there is none."""
    if figure is None or (figure.interval is None and not figure.pending):
        return "-"
    if figure.pending or figure.interval is None:
        return f"not judged ({figure.pending})"
    interval = figure.interval
    digits = 1 if metric.scale == "percent" else 2
    value, low, high = (
        f"{one:.{digits}f}" for one in (interval.value, interval.low, interval.high)
    )
    return f"{value} [{low}, {high}]"


def main_rows(entry: Entry) -> list[tuple[str, ...]]:
    """A row of `HEADER` for each metric of a benchmark."""
    rows: list[tuple[str, ...]] = []
    for metric in entry.task.metrics:
        known = published_of(str(entry.settings.get("model", "")), entry.task.name, metric.name)
        released, strict = (entry.summary.figure(metric.name, one) for one in SCORINGS)
        counted = strict.interval.count if strict.interval else strict.pending
        rows.append(
            (
                entry.task.title,
                metric.name,
                cell(released, metric),
                cell(strict, metric),
                "" if known is None else f"{known:g}",
                str(counted),
            )
        )
    return rows


def group_rows(entry: Entry) -> list[tuple[str, ...]]:
    """(kind, name, metric, released, strict, questions) of every question type."""
    figures = {(one.group, one.metric, one.scoring): one for one in entry.summary.figures}
    rows: list[tuple[str, ...]] = []
    for group in dict.fromkeys(one.group for one in entry.summary.figures):
        if group == ALL:
            continue
        for metric in entry.task.metrics:
            released, strict = (figures.get((group, metric.name, one)) for one in SCORINGS)
            if released is None and strict is None:
                continue
            counted = strict.interval.count if strict and strict.interval else 0
            cells = (cell(released, metric), cell(strict, metric), str(counted))
            rows.append((*group, metric.name, *cells))
    return rows


def published_lines(entry: Entry) -> list[str]:
    """A line a metric that the paper has: every model's figure."""
    lines: list[str] = []
    for metric in entry.task.metrics:
        found = published(entry.task.name, metric.name)
        if found:
            listed = ", ".join(f"{one.model} {one.value:g}" for one in found)
            lines.append(f"Published {metric.name}: {listed}")
    return lines


def remarks(entry: Entry) -> list[str]:
    """What a reader must know of the figures: what was left out, and how it was done."""
    counts, summary = entry.summary.counts, entry.summary
    what = f"{counts.questions} questions, {counts.answered} answered"
    for name, why in (
        ("missing", "their media are not there"),
        ("unreadable", "their media cannot be read"),
        ("refused", "the model does not take them"),
        ("waiting", "not asked yet"),
    ):
        if number := getattr(counts, name):
            what += f", {number} {name} ({why})"
    lines = [f"{what}.", *_first_failures(entry.samples)]
    if counts.missing or counts.unreadable or counts.refused:
        lines.append("Released leaves questions without an answer out; strict counts them wrong.")
    if counts.unparsable:
        lines.append(f"{counts.unparsable} answers cannot be parsed: wrong in strict.")
    if counts.defaulted:
        lines.append(f"{counts.defaulted} answers took the released default letter C.")
    if counts.unjudged:
        lines.append(f"{counts.unjudged} answers the judge gave no usable verdict on: left out.")
    if any(figure.pending for figure in summary.figures):
        lines.append("Not judged: run the same command again with --judge-url and --judge-model.")
    if summary.chance is not None:
        lines.append(f"Guessing scores {summary.chance:.1f}.")
    lines.append(_decoded(entry))
    if "problem" in entry.judge:
        lines.append(f"Judging stopped: {entry.judge['problem']}.")
    if entry.judge:
        asked, written = summary.judge_tokens
        lines.append(
            f"Judged by {entry.judge['model']} at temperature 0, "
            f"{'in' if entry.judge['structured'] else 'without'} a fixed JSON form; "
            f"{asked:,} tokens read and {written:,} written by it in this run."
        )
    noted = Counter(note for one in entry.samples for note in one.reply.notes)
    lines += [f"{number} answers: {note}." for note, number in noted.items()]
    if entry.submission:
        lines.append(entry.submission)
    if entry.task.note:
        lines.append(entry.task.note)
    lines.append("Intervals: 95 %, bootstrap over clips.")
    return lines


def _first_failures(samples: Sequence[Sample]) -> list[str]:
    """The reason of the first question of each kind that could not be asked."""
    first: dict[str, str] = {}
    for sample in samples:
        failure = sample.reply.failure
        if failure is not None and failure.kind != "missing":
            first.setdefault(failure.kind, f"{sample.question.id}: {_line(failure.reason)}")
    return [f"The first {kind}: {reason}." for kind, reason in first.items()]


def _line(text: str) -> str:
    return " ".join(text.split())


def _decoded(entry: Entry) -> str:
    settings = entry.settings
    heat = settings.get("temperature")
    how = "greedily" if heat == 0 else f"at temperature {heat}, seed {settings.get('seed')}"
    frames = settings.get("num_frames")
    taken = f", {frames} frames a clip" if frames and entry.task.modality != "audio" else ""
    return (
        f"Answered by {settings.get('model')} {how}{taken}, split {settings.get('split')}; "
        f"{entry.summary.generated_tokens:,} tokens written."
    )


def as_data(entries: Sequence[Entry]) -> dict[str, Any]:
    """The report as JSON takes it."""
    return {
        entry.task.name: {
            "title": entry.task.title,
            "settings": dict(entry.settings),
            "judge": dict(entry.judge),
            "counts": asdict(entry.summary.counts),
            "chance": entry.summary.chance,
            "figures": [asdict(figure) for figure in entry.summary.figures],
            "published": {
                metric.name: {one.model: one.value for one in found}
                for metric in entry.task.metrics
                if (found := published(entry.task.name, metric.name))
            },
            "prompt_tokens": entry.summary.prompt_tokens,
            "generated_tokens": entry.summary.generated_tokens,
            "judge_tokens": list(entry.summary.judge_tokens),
        }
        for entry in entries
    }


def as_markdown(entries: Sequence[Entry]) -> str:
    """The report as Markdown."""
    parts = ["# Evaluation\n", _table(HEADER, [row for one in entries for row in main_rows(one)])]
    for entry in entries:
        parts.append(f"\n## {entry.task.title}\n")
        lines = (*remarks(entry), *published_lines(entry))
        parts += [f"- {' '.join(line.split())}" for line in lines]
        rows = group_rows(entry)
        if rows:
            parts += ["", _table(("kind", "group", "metric", "released", "strict", "n"), rows)]
    return "\n".join(parts) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_escaped(text) for text in line) + " |" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
