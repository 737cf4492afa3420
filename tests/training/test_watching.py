"""What a run shows: metrics, bar and lines, trackers' files, the picture of its losses."""

from __future__ import annotations

import json
import logging
import math
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from videollama2.training import tracking
from videollama2.training.errors import TrainingError
from videollama2.training.metrics import Counted, Metrics
from videollama2.training.picture import loss_svg, smoothed, ticks
from videollama2.training.progress import Progress, summary
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train

Settings = Callable[..., list[str]]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def watched(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[logging.LogRecord]]:
    """A run's folder, and what it logged."""
    folder = tmp_path_factory.mktemp("watched") / "run"
    heard: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = heard.append  # type: ignore[method-assign]
    voice = logging.getLogger("videollama2.training")
    voice.addHandler(handler)
    voice.setLevel(logging.INFO)
    more = ("run.report_to=tensorboard", "run.peak_flops=1e12", "run.speak_every=0")
    try:
        train(load_recipe("video_finetune", settings(folder, *more)))
    finally:
        voice.removeHandler(handler)
    return folder, heard


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").open()]


def test_every_step_is_measured(watched: tuple[Path, Any]) -> None:
    noted = lines(watched[0])
    assert [line["step"] for line in noted] == list(range(1, 8))
    for line in noted:
        assert line["samples_per_s"] * line["seconds_per_step"] == pytest.approx(4, rel=0.01)
        assert line["tokens_per_s"] > line["samples_per_s"]
        assert line["mfu"] == pytest.approx(line["tflops_per_s"], abs=1e-4)  # of 1e12
        assert 0.01 < line["memory_gib"] < 100
    assert noted[-1]["eta_s"] == 0


def test_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("videollama2.training.metrics.time.monotonic", lambda: now)
    metrics = Metrics(tmp_path / "m.jsonl", peak_flops=1e9)
    metrics.step_begins()
    metrics.saw(Counted((10, 20), 40))
    metrics.worked(1e9)
    now += 2.0
    first = metrics.speed(10)
    assert (first["samples_per_s"], first["tokens_per_s"], first["mfu"]) == (1.0, 15.0, 0.5)
    assert first["padding"] == 0.25
    assert (first["seconds_per_step"], first["eta_s"]) == (2.0, 20)
    for _ in range(2):  # two steps to a line
        metrics.step_begins()
        metrics.saw(Counted((10, 20), 40))
        metrics.worked(1e9)
    now += 2.0
    second = metrics.speed(9)
    assert (second["seconds_per_step"], second["mfu"]) == (1.0, 1.0)
    assert second["eta_s"] == 12  # 4 s for 3 steps so far


def test_lines_where_there_is_no_terminal(watched: tuple[Path, list[logging.LogRecord]]) -> None:
    said = [record.getMessage() for record in watched[1]]
    steps = [line for line in said if re.match(r"step \d of 7: loss [\d.]+, ", line)]
    assert len(steps) == 7
    assert all("samples/s" in line and "MFU" in line and " left" in line for line in steps)


class State:
    is_world_process_zero, max_steps, global_step = True, 5, 0


def test_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 50.0
    monkeypatch.setattr("videollama2.training.progress.time.monotonic", lambda: now)
    state, progress = State(), Progress(terminal=False, every_seconds=25)
    with caplog.at_level(logging.INFO, logger="videollama2.training"):
        for _ in range(5):
            state.global_step += 1
            progress.on_log(None, state, None, {"loss": 1.0})
            now += 10.0
    assert [r.getMessage()[:11] for r in caplog.records] == [
        "step 1 of 5",
        "step 4 of 5",
        "step 5 of 5",
    ]


def test_the_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    state, progress = State(), Progress(terminal=True, every_seconds=1)
    progress.on_train_begin(None, state, None)
    state.global_step = 2
    progress.on_step_end(None, state, None)
    progress.on_log(None, state, None, {"loss": 0.25, "samples_per_s": 8.0, "eta_s": 75})
    progress.on_train_end(None, state, None)
    out, err = capsys.readouterr()
    assert out == ""
    assert "2/5" in err
    assert "loss 0.25, 8 samples/s, 0:01:15 left" in err


def test_summary_leaves_out_what_is_unknown() -> None:
    assert summary({"loss": 2.0}) == "loss 2"
    assert summary({"loss": 2.0, "mfu": 0.456}) == "loss 2, MFU 45.6%"


def events(folder: Path) -> list[Any]:
    """Read event files by their format: length, its check, an Event, its check."""
    from tensorboard.compat.proto.event_pb2 import Event

    found: list[Any] = []
    for file in sorted(folder.iterdir()):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            found.append(Event.FromString(data[at + 12 : at + 12 + length]))
            at += 16 + length
    return found


def test_tensorboard_reads_it_back(watched: tuple[Path, Any]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = watched[0] / "tensorboard"
    board = EventAccumulator(str(folder))
    board.Reload()
    noted = lines(watched[0])
    for tag in ("loss", "learning_rate/connector", "learning_rate/language_model", "mfu"):
        scalars = [
            (event.step, event.tensor_proto.float_val[0])
            for event in board.Tensors(f"train/{tag}")
        ] if f"train/{tag}" in board.Tags()["tensors"] else [
            (event.step, event.value) for event in board.Scalars(f"train/{tag}")
        ]  # fmt: skip
        assert scalars == [(line["step"], pytest.approx(line[tag], abs=1e-9)) for line in noted]


def test_going_on_purges_what_comes_again(tmp_path: Path) -> None:
    recipe = load_recipe("lora", [f"run.folder={tmp_path}", "run.report_to=[tensorboard]"])
    tracking.tracker_callbacks(recipe, 0)[0].tb_writer.close()
    callback = tracking.tracker_callbacks(recipe, 4)[0]
    callback.tb_writer.close()
    starts = [e for e in events(tmp_path / "tensorboard") if e.HasField("session_log")]
    assert [event.step for event in starts] == [5]


@pytest.mark.parametrize("tracker", ["tensorboard", "trackio", "wandb"])
def test_a_missing_tracker_is_said_first(tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(tracking, "import_module", absent)
    with pytest.raises(TrainingError, match=rf"report_to={tracker} needs.*pip install") as caught:
        tracking.check_trackers(load_recipe("lora", [f"run.report_to={tracker}"]))
    assert "\n" not in str(caught.value)


# --- the picture ---


def test_a_run_leaves_its_picture(watched: tuple[Path, Any]) -> None:
    root = ElementTree.fromstring((watched[0] / "loss.svg").read_text())
    assert len(root.findall(f"{SVG}polyline")) == 6  # two of losses, two rates, two in the legend
    words = [text.text for text in root.findall(f"{SVG}text")]
    assert {"connector", "language_model", "step"} <= set(words)
    assert "prefers-color-scheme: dark" in (watched[0] / "loss.svg").read_text()


def test_a_stopped_run_leaves_its_picture_too(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "on_step_end", lambda self, args, state, control, **_: (
        interrupted() if state.global_step == 3 else None))  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        train(load_recipe("video_finetune", settings(tmp_path)))
    assert (tmp_path / "loss.svg").is_file()


def curve(svg: str, kind: str) -> list[tuple[float, float]]:
    root = ElementTree.fromstring(svg)
    line = next(p for p in root.iter(f"{SVG}polyline") if p.get("class") == f"line {kind}")
    return [tuple(map(float, p.split(","))) for p in (line.get("points") or "").split()]  # type: ignore[misc]


def test_the_curve_is_the_losses() -> None:
    svg = loss_svg([{"step": n, "loss": 5.0 - n} for n in range(1, 4)], "a <run> & more")
    assert svg is not None
    points = curve(svg, "raw")
    assert [y for _, y in points] == sorted(y for _, y in points)  # down the page as losses fall
    assert points[1][0] - points[0][0] == pytest.approx(points[2][0] - points[1][0], abs=0.2)
    assert points[1][1] - points[0][1] == pytest.approx(points[2][1] - points[1][1], abs=0.2)


@pytest.mark.parametrize("losses", [[2.0], [2.0, 2.0], [0.0, 0.0], [1e9, 1e-9], [math.nan, 1.0]])
def test_odd_losses_draw(losses: list[float]) -> None:
    svg = loss_svg([{"step": n, "loss": loss} for n, loss in enumerate(losses, 1)], "x")
    assert svg is not None
    assert "nan" not in svg
    ElementTree.fromstring(svg)


def test_nothing_to_draw() -> None:
    assert loss_svg([], "x") is None
    assert loss_svg([{"step": 1, "loss": math.inf}], "x") is None


def test_long_runs_stay_small() -> None:
    steps = range(1, 20_001)
    svg = loss_svg([{"step": n, "loss": 3 / n**0.3 + (n % 7) / 9} for n in steps], "x")
    assert svg is not None
    assert len(svg) < 100_000
    assert len(curve(svg, "raw")) <= 1000


def test_smoothing_is_unbiased() -> None:
    assert smoothed([(n, 3.0) for n in range(200)])[0] == (0, 3.0)
    assert smoothed([(n, 3.0) for n in range(200)])[-1][1] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (1, 7, [2, 4, 6]), (3, 3, [3]),
     (0, 2e-5, [0, 5e-6, 1e-5, 1.5e-5, 2e-5])],
)  # fmt: skip
def test_round_ticks(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)
