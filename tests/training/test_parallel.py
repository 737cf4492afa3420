"""Two processes give what one gives: by DDP and by FSDP2, from the start and gone on with.

All that two processes do here they do in one launch: starting them takes longest.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import Job, launch, run_job
from safetensors.torch import load_file

pytestmark = pytest.mark.timeout(900)  # the launch, on a machine with much else to do
Settings = Callable[..., list[str]]
JOINT, STEPS = "audio_visual_joint", 7
FSDP2, DDP = "parallel.kind=fsdp2", "parallel.kind=ddp"
# One record to a batch: the two processes never work on the same kinds of media at once.
PEAK = 1e6  # FLOP/s
PIECES = (
    "batch.per_device=1", "optimizer.precision=float32", "run.keep=9", f"run.peak_flops={PEAK}",
)  # fmt: skip
CONNECTOR = ("data.labels=answers",)
# Dropout draws from each process's random state.
STILL = "adapter.dropout=0"
ADAPTERS = ("adapter.rank=2", "adapter.dropout=0.3", "adapter.parts=[language_model,audio]")
EPSILON = torch.finfo(torch.float32).eps
# Sums in another order: a loss is a mean of about a hundred tokens' losses, a norm the root of a
# sum over 72,615 parameters' squares.
HALF = torch.finfo(torch.bfloat16).eps
LOSS, NORM = 100 * EPSILON, 72_615**0.5 * EPSILON


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noted(folder: Path, what: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line[what] for line in lines]


def assert_same_to_rounding(folder: Path, other: Path) -> None:
    assert len(noted(other, "loss")) == STEPS
    assert noted(folder, "loss") == pytest.approx(noted(other, "loss"), rel=LOSS)
    assert noted(folder, "grad_norm") == pytest.approx(noted(other, "grad_norm"), rel=NORM)


def assert_same_to_the_bit(folder: Path, other: Path) -> None:
    assert len(noted(other, "loss")) == STEPS
    assert noted(folder, "loss") == noted(other, "loss")
    ours, theirs = (load_file(f / "model" / "model.safetensors") for f in (folder, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


class Runs:
    """Runs by name, each in its folder; how each was set."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.jobs: list[Job] = []

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def job(self, name: str, recipe: str, *more: str, **what: Any) -> Job:
        return Job(recipe, self.settings(self / name, *PIECES, *more), **what)

    def together(self, name: str, recipe: str, *more: str, **what: Any) -> None:
        """Later, in two processes."""
        self.jobs.append(self.job(name, recipe, *more, **what))

    def alone(self, name: str, recipe: str, *more: str, **what: Any) -> dict[str, Any]:
        return run_job(self.job(name, recipe, *more, **what))

    def facts(self, name: str) -> list[dict[str, Any]]:
        """Of the last job in a folder."""
        said = f"run.folder={self / name}"
        return next(job.facts for job in reversed(self.jobs) if said in job.settings)


@pytest.fixture(scope="module")
def bad_records(tmp_path_factory: pytest.TempPathFactory, media_folder: Path) -> str:
    """Four records, of which the first two of an epoch's order cannot be read."""
    rows = [
        {"id": n, "video": name, "conversations": [
            {"from": "human", "value": "<video>\n?"}, {"from": "gpt", "value": "Yes."}]}
        for n, name in enumerate(["clip.mp4", "garbage.mp4", "empty.mp4", "silent.mp4"])
    ]  # fmt: skip
    file = tmp_path_factory.mktemp("bad") / "bad.json"
    file.write_text(json.dumps(rows))
    return f"data.files=[{{path: {file}, folder: {media_folder}}}]"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, settings: Settings, bad_records: str) -> Runs:
    runs = Runs(tmp_path_factory.mktemp("processes"), settings)
    packed = ("data.packing=true", "batch.per_device=2")
    half = (*CONNECTOR, "optimizer.precision=bfloat16")
    skipping = (bad_records, "data.max_skipped=0.5", FSDP2)
    term = {"at": 3, "who": 1, "sent": int(signal.SIGTERM)}
    runs.alone("one-then-two", JOINT, at=3, sent=int(signal.SIGTERM))
    runs.together("ddp", JOINT, DDP, "data.workers=2")
    runs.together("fsdp2", JOINT, FSDP2, "optimizer.gradient_checkpointing=false")
    runs.together("one-then-two", JOINT, FSDP2)
    runs.together("two-then-one", JOINT, FSDP2, **term)
    runs.together("connector-ddp", "video_pretrain", *CONNECTOR, DDP)
    runs.together("connector-fsdp2", "video_pretrain", *CONNECTOR, *packed, FSDP2)
    runs.together("half-fsdp2", "video_pretrain", *half, FSDP2)
    runs.together("adapters-ddp", "lora", *ADAPTERS, STILL, DDP)
    runs.together("adapters-fsdp2", "lora", *ADAPTERS, STILL, FSDP2)
    runs.together("lora", "lora", *ADAPTERS, FSDP2)
    runs.together("lora-stopped", "lora", *ADAPTERS, FSDP2, **term)
    runs.together("lora-stopped", "lora", *ADAPTERS, FSDP2)
    runs.together("skipping", "video_finetune", *skipping)
    runs.together("killed", JOINT, FSDP2, at=5, who=1, sent=int(signal.SIGKILL))
    ended = launch(2, runs.jobs, runs / "launch", timeout=840)  # they would wait half an hour
    assert ended.returncode != 0  # the last was killed
    assert all(len(job.facts) == 2 for job in runs.jobs[:-1]), ended.stderr[-6000:]
    return runs


@pytest.fixture(scope="module")
def alone(runs: Runs) -> dict[str, Any]:
    """The same run in one process, never broken off."""
    return runs.alone("alone", JOINT)


def in_turn(facts: list[dict[str, Any]]) -> dict[str, list[list[int]]]:
    """The rows of two processes, as one process has them: by turns."""
    first, second = (one["rows"] for one in facts)
    return {
        step: [row for pair in zip(first[step], second[step], strict=True) for row in pair]
        for step in first
    }


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_two_give_what_one_gives(kind: str, runs: Runs, alone: dict[str, Any]) -> None:
    assert_same_to_rounding(runs / kind, runs / "alone")
    rows = {str(step): row for step, row in alone["rows"].items()}
    assert in_turn(runs.facts(kind)) == rows
    assert [len(row) for row in rows.values()] == [4] * STEPS


@pytest.mark.parametrize(("kind", "devices"), [("ddp", 2), ("fsdp2", 2)])
def test_mfu_is_of_all_processes(
    kind: str, devices: int, runs: Runs, alone: dict[str, Any]
) -> None:
    """The same work in all, over twice as many devices."""
    work, of_one = (
        [
            mfu * seconds
            for mfu, seconds in zip(
                noted(folder, "mfu"), noted(folder, "seconds_per_step"), strict=True
            )
        ]
        for folder in (runs / kind, runs / "alone")
    )
    assert [devices * flops for flops in work] == pytest.approx(of_one, rel=0.01)


def test_fsdp2_leaves_each_its_part(runs: Runs) -> None:
    """accelerate would quietly keep a whole model in every process on a CPU."""
    first, second = runs.facts("fsdp2")
    assert first["kinds"] == second["kinds"] == ["DTensor"]
    assert first["here"] + second["here"] == first["all"] == second["all"] == 72_615
    assert first["here"] == pytest.approx(second["here"], rel=0.01)
    assert {one["here"] for one in runs.facts("ddp")} == {72_615}


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_frozen_language_model(kind: str, runs: Runs) -> None:
    """One process has text alone, and nothing of what trains, while the other has a clip; with
    FSDP2, records packed in rows.
    """
    if not (runs / "connector-alone").exists():
        runs.alone("connector-alone", "video_pretrain", *CONNECTOR)
    assert_same_to_rounding(runs / f"connector-{kind}", runs / "connector-alone")


def test_frozen_parts_in_half_the_width(runs: Runs) -> None:
    """A frozen language model in bfloat16 and a connector in float32, shared out together."""
    runs.alone("half-alone", "video_pretrain", *CONNECTOR, "optimizer.precision=bfloat16")
    ours, theirs = runs / "half-fsdp2", runs / "half-alone"
    for what in ("loss", "grad_norm"):
        assert noted(ours, what) == pytest.approx(noted(theirs, what), rel=HALF)


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_adapters(kind: str, runs: Runs) -> None:
    if not (runs / "adapters-alone").exists():
        runs.alone("adapters-alone", "lora", *ADAPTERS, STILL)
    assert_same_to_rounding(runs / f"adapters-{kind}", runs / "adapters-alone")


def test_one_process_then_two(runs: Runs, alone: dict[str, Any]) -> None:
    assert_same_to_rounding(runs / "one-then-two", runs / "alone")
    rows = {str(step): row for step, row in alone["rows"].items() if step > 3}
    assert in_turn(runs.facts("one-then-two")) == rows


def test_two_processes_then_one(runs: Runs, alone: dict[str, Any]) -> None:
    """SIGTERM reached one of them; both stopped, and saved once."""
    stopped = runs.facts("two-then-one")
    assert [(one["step"], one["model"]) for one in stopped] == [(3, ""), (3, "")]
    assert sorted(p.name for p in (runs / "two-then-one").glob("*checkpoint*")) == [
        "checkpoint-2", "checkpoint-3",
    ]  # fmt: skip
    facts = runs.alone("two-then-one", JOINT)
    assert_same_to_rounding(runs / "two-then-one", runs / "alone")
    assert facts["rows"] == {step: row for step, row in alone["rows"].items() if step > 3}


def test_killed_then_gone_on_with_in_one(runs: Runs) -> None:
    """The one that was left did not wait, and what was saved is whole."""
    assert not (runs / "killed" / "model").exists()
    runs.alone("killed", JOINT)
    assert_same_to_rounding(runs / "killed", runs / "alone")


def test_stopped_and_gone_on_with_in_two(runs: Runs) -> None:
    """As many processes as before: bit for bit, dropout and all."""
    assert_same_to_the_bit(runs / "lora-stopped", runs / "lora")
    assert len(set(noted(runs / "lora", "loss"))) == STEPS


def test_one_process_skips_what_the_other_does_not(runs: Runs, bad_records: str) -> None:
    runs.alone("skipping-alone", "video_finetune", bad_records, "data.max_skipped=0.5")
    lines = [(runs / name / "skipped.jsonl").read_text() for name in ("skipping", "skipping-alone")]
    assert lines[0] == lines[1]
    assert len(lines[0].splitlines()) == 8
    ours, theirs = (noted(runs / name, "loss") for name in ("skipping", "skipping-alone"))
    assert ours == pytest.approx(theirs, rel=LOSS)


def test_every_result_loads(runs: Runs) -> None:
    from videollama2 import VideoLlama2ForConditionalGeneration

    for name in ("ddp", "fsdp2", "half-fsdp2", "lora"):
        _, said = VideoLlama2ForConditionalGeneration.from_pretrained(
            runs / name / "model", output_loading_info=True
        )
        assert not said["missing_keys"]
        assert not said["unexpected_keys"]
