"""Two runs of the same benchmarks side by side, question by question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.evaluation.errors import EvaluationError
from videollama2.evaluation.registry import all_tasks
from videollama2.evaluation.replies import read_lines
from videollama2.evaluation.run import SETTINGS, read_settings
from videollama2.evaluation.statistics import Comparison, compare
from videollama2.evaluation.summary import ALL
from videollama2.evaluation.task import SCORINGS, Metric, Scoring, Task

COMPARED = (
    "benchmark",
    "kind",
    "group",
    "metric",
    "scoring",
    "A",
    "B",
    "B - A",
    "B is",
    "questions",
)


@dataclass(frozen=True)
class Compared:
    """One metric of one scoring and group in both runs, over the questions that both scored."""

    task: Task
    metric: Metric
    scoring: Scoring
    group: tuple[str, str]
    found: Comparison

    def row(self) -> tuple[str, ...]:
        """A row of `COMPARED`."""
        digits = 1 if self.metric.scale == "percent" else 2
        found, difference = self.found, self.found.difference
        sure = "better" if difference.low > 0 else "worse" if difference.high < 0 else "unclear"
        return (
            self.task.title,
            *(self.group if self.group != ALL else ("all", "")),
            self.metric.name,
            self.scoring,
            f"{found.first:.{digits}f}",
            f"{found.second:.{digits}f}",
            f"{difference.value:+.{digits}f} [{difference.low:+.{digits}f}, "
            f"{difference.high:+.{digits}f}]",
            sure,
            str(difference.count),
        )


def compare_runs(
    first: Path, second: Path, scorings: Sequence[Scoring] = SCORINGS, *, seed: int = 0
) -> tuple[list[Compared], list[str]]:
    """Every figure that both output folders have, and what of them could not be paired.

    Raises:
        EvaluationError: a folder holds no finished benchmark, or they have none in common.
    """
    mine, theirs = _benchmarks(first), _benchmarks(second)
    common = [name for name in mine if name in theirs]
    if not common:
        raise EvaluationError(
            second,
            f"it has no benchmark in common with {first} ({', '.join(mine)})",
            "Run both on the same benchmark",
        )
    found: list[Compared] = []
    left: list[str] = []
    for name in common:
        pairs = [(mine[name][one], theirs[name][one]) for one in mine[name] if one in theirs[name]]
        alone = len(mine[name]) + len(theirs[name]) - 2 * len(pairs)
        if alone:
            left.append(f"{name}: {alone} questions are in one run only and are left out")
        found += _compared(all_tasks()[name], pairs, scorings, seed)
    return found, left


def model_of(folder: Path) -> str:
    """The model whose answers an output folder holds, as its first benchmark names it.

    Raises:
        EvaluationError: the folder's record of its settings is damaged.
    """
    files = (folder / name / SETTINGS for name in all_tasks())
    file = next((file for file in files if file.is_file()), None)
    return "a model" if file is None else str(read_settings(file).get("model", "a model"))


_Pairs = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]


def _compared(task: Task, pairs: _Pairs, scorings: Sequence[Scoring], seed: int) -> list[Compared]:
    groups = {group: None for one, _ in pairs for group in one["groups"].items()}
    kinds = [kind for kind, _ in groups]
    several = [group for group in groups if kinds.count(group[0]) > 1]
    found: list[Compared] = []
    for group in (ALL, *several):
        kept = [pair for pair in pairs if group == ALL or group in pair[0]["groups"].items()]
        for metric in task.metrics:
            for scoring in scorings:
                result = _paired(kept, metric, scoring, seed)
                if result is not None:
                    found.append(Compared(task, metric, scoring, group, result))
    return found


def _paired(pairs: _Pairs, metric: Metric, scoring: Scoring, seed: int) -> Comparison | None:
    both = [pair for pair in pairs if all(_has(one, scoring, metric.name) for one in pair)]
    if not both:
        return None
    factor = 100.0 if metric.scale == "percent" else 1.0
    before, after = (
        [factor * pair[place][scoring]["scores"][metric.name] for pair in both] for place in (0, 1)
    )
    return compare(before, after, [first["video"] for first, _ in both], seed=seed)


def _has(sample: Mapping[str, Any], scoring: str, metric: str) -> bool:
    return metric in sample[scoring]["scores"] and metric not in sample["pending"]


def _benchmarks(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in all_tasks():
        lines = read_lines(folder / name / "samples.jsonl")
        if lines:
            found[name] = {line["id"]: line for line in lines}
    if not found:
        raise EvaluationError(
            folder, "it holds no scored benchmark", "Name the folder given to --out of a run"
        )
    return found
