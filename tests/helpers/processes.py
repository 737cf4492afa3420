"""Runs of training in several processes that meet over gloo, started as people start them.

`launch` starts `torch.distributed.run` on this file. A job is a run's settings and what happens
in it; all jobs of a launch follow each other in the same processes, whose start takes longest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch


@dataclass
class Job:
    """One run. At the end of step `at`, process `who` gets the signal `sent`."""

    recipe: str
    settings: list[str]
    at: int = -1
    who: int = 0
    sent: int = 0
    facts: list[dict[str, Any]] = field(default_factory=list)


def launch(number: int, jobs: list[Job], folder: Path, **options: Any) -> Any:
    """Run the jobs in so many processes; each job's `facts` are then those of every process."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "jobs.json"
    file.write_text(json.dumps([asdict(job) for job in jobs]))
    ended = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(number),
         "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", __file__, str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        **options,
    )  # fmt: skip
    for index, job in enumerate(jobs):
        facts = [folder / f"facts-{index}-{rank}.json" for rank in range(number)]
        job.facts = [json.loads(one.read_text()) for one in facts if one.exists()]
    return ended


def run_job(job: Job, rank: int = 0) -> dict[str, Any]:
    """One run in this process, watched.

    Gives how the parameters are kept, how many numbers of them here and in all, and the rows of
    each step in the order in which this process worked on them.
    """
    from videollama2.training import run, trainer
    from videollama2.training.recipe_file import load_recipe

    facts: dict[str, Any] = {}
    rows: dict[int, list[list[int]]] = defaultdict(list)

    class Watching(trainer.StopWhenAsked):
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            parameters = list(others["model"].parameters())
            here = [p.to_local() if hasattr(p, "to_local") else p for p in parameters]
            facts["kinds"] = sorted({type(p).__name__ for p in parameters})
            facts["here"] = sum(p.numel() for p in here)
            facts["all"] = sum(p.numel() for p in parameters)
            if (state.global_step, rank) == (job.at, job.who):
                os.kill(os.getpid(), job.sent)
            super().on_step_end(args, state, control, **others)

    class Listening(trainer.StageTrainer):
        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kw: Any) -> Any:
            for ids, mask in zip(
                inputs["input_ids"], inputs.get("attention_mask", ()), strict=False
            ):
                rows[self.state.global_step + 1].append(ids[mask.bool()].tolist())
            return super().compute_loss(model, inputs, *args, **kw)

    with patch.object(run, "StopWhenAsked", Watching), patch.object(run, "StageTrainer", Listening):
        outcome = run.train(load_recipe(job.recipe, job.settings))
    return {**facts, "rows": rows, "step": outcome.step, "model": str(outcome.model or "")}


def work(file: Path) -> None:
    """What each process does."""
    import torch

    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    for index, job in enumerate(json.loads(file.read_text())):
        facts = run_job(Job(**job), rank)
        (file.parent / f"facts-{index}-{rank}.json").write_text(json.dumps(facts))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    work(Path(sys.argv[1]))
