"""A benchmark's figures: means with intervals, overall and by question type, and what was left out.

Each metric is counted in both scorings side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from videollama2.evaluation.samples import Sample
from videollama2.evaluation.statistics import Interval, mean_interval
from videollama2.evaluation.task import SCORINGS, Metric, Question, Scoring, Task

ALL = ("", "")


@dataclass(frozen=True)
class Figure:
    """One metric of one scoring over a group of questions, such as ("task", "Action Sequence").

    `group` ("", "") is all. `interval` is in the metric's own unit (percent, or 0 to 5); None where
    nothing is scored. `pending` questions wait for a judge: the figure is then not to be told.
    """

    metric: str
    scoring: Scoring
    group: tuple[str, str]
    interval: Interval | None
    pending: int = 0


@dataclass(frozen=True)
class Counts:
    """What became of the questions.

    `missing`, `unreadable`, `refused`: no answer, and why. `unparsable`: the strict scoring
    understood nothing in the answer. `defaulted`: the released scoring took its default.
    `unjudged`: the judge gave no usable verdict. `waiting`: not asked yet.
    """

    questions: int
    answered: int
    missing: int
    unreadable: int
    refused: int
    unparsable: int
    defaulted: int
    unjudged: int
    waiting: int


@dataclass(frozen=True)
class Summary:
    """A benchmark's figures. `chance` is a guesser's accuracy in percent, for multiple choice."""

    task: str
    figures: tuple[Figure, ...]
    counts: Counts
    chance: float | None
    prompt_tokens: int
    generated_tokens: int
    judge_tokens: tuple[int, int]

    def figure(
        self, metric: str, scoring: Scoring = "released", group: tuple[str, str] = ALL
    ) -> Figure:
        """One figure.

        Raises:
            KeyError: there is none.
        """
        for figure in self.figures:
            if (figure.metric, figure.scoring, figure.group) == (metric, scoring, group):
                return figure
        raise KeyError(f"{self.task} has no figure {metric} {scoring} {group}")


def summarise(
    task: Task, questions: Sequence[Question], samples: Sequence[Sample], *, seed: int = 0
) -> Summary:
    """All figures of a benchmark."""
    figures: list[Figure] = []
    for group in (ALL, *_groups(questions)):
        kept = [one for one in samples if group == ALL or _in(one.question, group)]
        for metric in task.metrics:
            for scoring in SCORINGS:
                figure = _figure(metric, scoring, group, kept, seed)
                if figure is not None:
                    figures.append(figure)
    chances = [1 / len(one.options) for one in questions if one.options]
    verdicts = [verdict for one in samples for verdict in one.verdicts.values()]
    fresh = [verdict for verdict in verdicts if not verdict.cached]
    return Summary(
        task.name,
        tuple(figures),
        count(questions, samples),
        100 * sum(chances) / len(chances) if len(chances) == len(questions) else None,
        sum(one.reply.prompt_tokens for one in samples),
        sum(one.reply.generated_tokens for one in samples),
        (
            sum(verdict.prompt_tokens for verdict in fresh),
            sum(verdict.generated_tokens for verdict in fresh),
        ),
    )


def count(questions: Sequence[Question], samples: Sequence[Sample]) -> Counts:
    """What became of the questions."""
    failures = Counter(one.reply.failure.kind for one in samples if one.reply.failure is not None)
    answered = [one for one in samples if one.reply.failure is None]
    return Counts(
        questions=len(questions),
        answered=len(answered),
        missing=failures["missing"],
        unreadable=failures["unreadable"],
        refused=failures["refused"],
        unparsable=sum(one.marks.strict.parse is None for one in answered),
        defaulted=sum(one.marks.released.defaulted for one in answered),
        unjudged=sum(
            any(verdict.failure is not None for verdict in one.verdicts.values())
            for one in answered
        ),
        waiting=len(questions) - len(samples),
    )


def _groups(questions: Sequence[Question]) -> Iterator[tuple[str, str]]:
    """Every (kind, name), kinds together, in the questions' order, of kinds with several names."""
    kinds: dict[str, dict[str, int]] = {}
    for question in questions:
        for kind, name in question.groups.items():
            names = kinds.setdefault(kind, {})
            names[name] = names.get(name, 0) + 1
    for kind, names in kinds.items():
        if len(names) > 1:
            yield from ((kind, name) for name in names)


def _in(question: Question, group: tuple[str, str]) -> bool:
    return question.groups.get(group[0]) == group[1]


def _figure(
    metric: Metric,
    scoring: Scoring,
    group: tuple[str, str],
    samples: Sequence[Sample],
    seed: int,
) -> Figure | None:
    scored = [
        (one.marks.of(scoring).scores[metric.name], one.question)
        for one in samples
        if metric.name in one.marks.of(scoring).scores
    ]
    pending = sum(metric.name in one.pending for one in samples)
    if not scored and not pending:
        if group != ALL:
            return None
        return Figure(metric.name, scoring, group, None)
    if not scored:
        return Figure(metric.name, scoring, group, None, pending)
    factor = 100.0 if metric.scale == "percent" else 1.0
    values = [factor * value for value, _ in scored]
    units = [question.unit for _, question in scored]
    groups = [question.groups.get(metric.by, "") for _, question in scored]
    interval = mean_interval(values, units, groups, seed=seed)
    return Figure(metric.name, scoring, group, interval, pending)
