"""A run's model card: what it was made of, by which recipe, and how its loss went."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from videollama2.training.errors import TrainingError
from videollama2.training.recipe_file import dump_recipe, load_recipe

_RECIPE, _METRICS, _SKIPPED = "recipe.yaml", "metrics.jsonl", "skipped.jsonl"


def run_of(folder: Path) -> Path | None:
    """The run that a folder is, or is a result of; None where there is no recipe."""
    return next((one for one in (folder, folder.parent) if (one / _RECIPE).is_file()), None)


def card(run: Path) -> str:
    """A model card in Markdown, with the hub's header, of a finished run.

    Raises:
        TrainingError: its recipe or its metrics cannot be read.
    """
    recipe = load_recipe(str(run / _RECIPE))
    first, last, steps = _metrics(run / _METRICS)
    start = Path(str(recipe.model.start))
    header: dict[str, Any] = {"library_name": "videollama2", "tags": ["videollama2", recipe.stage]}
    if not start.exists() and "/" in str(start):
        header["base_model"] = str(start)
    lists = [
        f"| `{Path(file.path).name}` | {_records(Path(file.path))} |" for file in recipe.data.files
    ]
    rates = [f"{part} {rate:g}" for part, rate in recipe.train.rates().items()]
    if recipe.adapter is not None:
        adapter = recipe.adapter
        rates.append(
            f"{adapter.kind} adapters on {', '.join(adapter.parts)} (rank {adapter.rank}) "
            f"{adapter.learning_rate:g}"
        )
    measured = [
        f"| {name} | {first.get(name, '')} | {last.get(name, '')} |"
        for name in ("loss", "grad_norm")
        if name in last
    ]
    return "\n".join(
        [
            f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
            f"# {recipe.stage}, from {start.name}",
            "",
            f"Trained with `videollama2 train {recipe.stage}` (values: {recipe.values}) for "
            f"{steps:,} steps of {recipe.batch.total} records. Learning rates: {'; '.join(rates)}.",
            "",
            "```python",
            "from videollama2 import VideoLlama2",
            "",
            'model = VideoLlama2.from_pretrained("THIS_REPOSITORY")',
            'model.ask("What happens?", video="clip.mp4")',
            "```",
            "",
            "## Data",
            "",
            "| list | records |\n| --- | --- |",
            *lists,
            "",
            f"Records that could not be read: {_lines(run / _SKIPPED)}.",
            "",
            "## Metrics",
            "",
            "| | first step | last step |\n| --- | --- | --- |",
            *measured,
            "",
            "## Recipe",
            "",
            f"```yaml\n{dump_recipe(recipe)}```",
            "",
        ]
    )


def _metrics(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any], int]:
    """The first and last step's line, and the last step's number."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        steps = [line for line in lines if "loss" in line]
        return steps[0], steps[-1], int(steps[-1]["step"])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise TrainingError(f"{path}: says of no step how it went ({error})") from error


def _records(path: Path) -> str:
    """How many records a list has, where it still lies here."""
    if not path.is_file():
        return "unknown"
    if path.suffix == ".jsonl":
        return f"{_lines(path):,}"
    content: Any = json.loads(path.read_text(encoding="utf-8"))
    return f"{len(content):,}"


def _lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open(encoding="utf-8") as file:
        return sum(1 for line in file if line.strip())
