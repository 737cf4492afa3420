"""A run that was killed, stopped or damaged gives what an unbroken one gives, bit for bit."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from videollama2.training import run as run_module
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train
from videollama2.training.trainer import StopWhenAsked

RUN_SCRIPT = """
import logging, os, signal, sys
import torch
torch.set_num_threads(1)
logging.basicConfig(level=logging.INFO)
from videollama2.training import trainer
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train

step, name, *settings = sys.argv[1:]


class Killed(trainer.StopWhenAsked):
    def on_step_end(self, args, state, control, **others):
        if state.global_step == int(step):
            os.kill(os.getpid(), signal.SIGKILL)


import videollama2.training.run as run
run.StopWhenAsked = Killed
train(load_recipe(name, settings))
"""

# Dropout in adapters and layers that drop out draw from the random state: it must come back too.
DRAWING = ("adapter.parts=[vision]", "adapter.dropout=0.3", "adapter.rank=2", "run.keep=3")
RECIPE = "audio_visual_joint"


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Sums of several threads may differ from run to run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, settings: Callable[..., list[str]]) -> Path:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    outcome = train(load_recipe(RECIPE, settings(folder, *DRAWING)))
    assert (outcome.step, outcome.steps) == (7, 7)
    torch.set_num_threads(before)
    return folder


def losses(folder: Path) -> list[tuple[int, float, float]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(line["step"], line["loss"], line["grad_norm"]) for line in map(json.loads, lines)]


def assert_same(folder: Path, unbroken: Path) -> None:
    assert losses(folder) == losses(unbroken)
    ours, theirs = (load_file(f / "model" / "model.safetensors") for f in (folder, unbroken))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_losses_differ_from_step_to_step(unbroken: Path) -> None:
    """What the others compare is worth comparing."""
    noted = losses(unbroken)
    assert [step for step, _, _ in noted] == list(range(1, 8))
    assert len({loss for _, loss, _ in noted}) == 7


def test_killed_and_started_again(
    unbroken: Path, tmp_path: Path, settings: Callable[..., list[str]]
) -> None:
    folder = tmp_path / "run"
    given = settings(folder, *DRAWING)
    killed = subprocess.run(  # at the end of step 5, whose checkpoint was step 4's
        [sys.executable, "-c", RUN_SCRIPT, "5", RECIPE, *given],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [step for step, _, _ in losses(folder)] == [1, 2, 3, 4]
    assert not (folder / "model").exists()
    (folder / ".checkpoint-6.partial").mkdir()  # as if killed while it was written
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 1.0, "grad_norm": 1.0}\n{"step":')
    assert train(load_recipe(RECIPE, given)).step == 7
    assert_same(folder, unbroken)
    assert not (folder / ".checkpoint-6.partial").exists()


def test_killed_and_started_again_packed(
    tmp_path: Path, settings: Callable[..., list[str]]
) -> None:
    """Rows are laid out from the step's records alone, so nothing of them needs to be kept."""
    packed = (*DRAWING, "data.packing=true", "data.pack_tokens=150", "optimizer.epochs=2")
    train(load_recipe(RECIPE, settings(tmp_path / "whole", *packed)))
    given = settings(tmp_path / "run", *packed)
    killed = subprocess.run(
        [sys.executable, "-c", RUN_SCRIPT, "3", RECIPE, *given],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [step for step, _, _ in losses(tmp_path / "run")] == [1, 2]
    assert train(load_recipe(RECIPE, given)).step == 4
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_sigterm_saves(
    unbroken: Path,
    tmp_path: Path,
    settings: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminated(StopWhenAsked):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    given = settings(tmp_path / "run", *DRAWING)
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "StopWhenAsked", Terminated)
        stopped = train(load_recipe(RECIPE, given))
    assert (stopped.step, stopped.model) == (3, None)
    assert (tmp_path / "run" / "checkpoint-3").is_dir()
    assert train(load_recipe(RECIPE, given)).model is not None
    assert_same(tmp_path / "run", unbroken)


@pytest.mark.parametrize("wrong", ["changed", "missing", "manifest"])
def test_damaged_checkpoints(
    unbroken: Path,
    tmp_path: Path,
    settings: Callable[..., list[str]],
    caplog: pytest.LogCaptureFixture,
    wrong: str,
) -> None:
    folder = tmp_path / "run"
    given = settings(folder, *DRAWING)
    subprocess.run(["cp", "-r", str(unbroken), str(folder)], check=True)
    subprocess.run(["rm", "-r", str(folder / "model")], check=True)
    recipe = load_recipe(RECIPE, given)
    newest = folder / "checkpoint-7"
    if wrong == "changed":
        file = newest / "optimizer.pt"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif wrong == "missing":
        (newest / "rng_state.pth").unlink()
    else:
        (newest / "manifest.json").write_text("{")
    with caplog.at_level(logging.WARNING, "videollama2.training"):
        train(recipe)
    said = [record.message for record in caplog.records]
    assert any("checkpoint-7 is damaged" in line for line in said)
    assert any("going on from" in line and "checkpoint-6" in line for line in said)
    assert (folder / "damaged-checkpoint-7").is_dir()
    assert_same(folder, unbroken)


def test_the_last_few_are_kept(unbroken: Path) -> None:
    kept = sorted(path.name for path in unbroken.glob("*checkpoint-*"))
    assert kept == ["checkpoint-4", "checkpoint-6", "checkpoint-7"]
    assert not list(unbroken.glob("**/*.bin"))


def test_another_run_is_not_gone_on_with(
    unbroken: Path, settings: Callable[..., list[str]]
) -> None:
    from videollama2.training.errors import TrainingError

    other = load_recipe(RECIPE, settings(unbroken, *DRAWING, "train.audio=1e-4"))
    with pytest.raises(TrainingError, match=r"train\.audio was 2e-05 and is 0\.0001"):
        train(other)
    layout = ("batch.per_device=1", "data.packing=true")  # where rows lie changes no run
    finished = train(load_recipe(RECIPE, settings(unbroken, *DRAWING, *layout)))
    assert finished.model == unbroken / "model"
