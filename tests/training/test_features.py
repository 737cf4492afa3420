"""Stored encoder outputs: the same losses without the encoders, and nothing that does not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from videollama2.cli.main import app
from videollama2.model.trunk import VideoLlama2Model
from videollama2.training.feature_cache import cache_features
from videollama2.training.features import FeatureError
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train

Settings = Callable[..., list[str]]
ALONE = ("batch.per_device=1", "optimizer.epochs=1", "batch.total=7", "run.save_every=50")
PRETRAIN = ("video_pretrain", "data.labels=answers")
JOINT = ("audio_visual_joint",)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def settled(settings: Settings) -> Settings:
    def make(folder: Path, *more: str) -> list[str]:
        return [*settings(folder, *ALONE), "optimizer.epochs=3", *more]

    return make


def losses(folder: Path) -> list[tuple[float, float]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(line["loss"], line["grad_norm"]) for line in lines]


@pytest.mark.parametrize(
    ("recipe", "kept"),
    [(PRETRAIN, {"pictures", "sound"}), (JOINT, {"pictures"}),
     (("video_finetune", "train.vision=1e-4"), {"sound"})],
)  # fmt: skip
def test_the_same_losses(
    recipe: tuple[str, ...],
    kept: set[str],
    settled: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bit for bit where media are encoded one by one in both, and the encoders do not run."""
    name, *more = recipe
    features = tmp_path / "features"
    plain = load_recipe(name, settled(tmp_path / "plain", *more))
    cached = cache_features(plain, features)
    assert (cached.media, cached.known, cached.failed) == (5, 0, [])
    stored = json.loads((features / "features.json").read_text())["encoders"]
    assert set(stored) == kept
    train(plain)
    if "pictures" in kept:

        def never(*_: Any) -> Any:
            raise AssertionError

        monkeypatch.setattr(VideoLlama2Model, "encode_frames", never)
    with_them = load_recipe(name, settled(tmp_path / "with", *more, f"data.features={features}"))
    train(with_them)
    assert losses(tmp_path / "with") == losses(tmp_path / "plain")
    assert not (tmp_path / "with" / "skipped.jsonl").exists()


def test_batches_and_workers(settled: Settings, tmp_path: Path) -> None:
    """In batches the same to rounding; in half width nearly."""
    given = ("batch.per_device=7", "data.workers=2")
    plain = load_recipe("video_pretrain", settled(tmp_path / "p", "data.labels=answers", *given))
    train(plain)
    expected = [loss for loss, _ in losses(tmp_path / "p")]
    for width, rounding in (("auto", 1e-5), ("bfloat16", 0.02)):
        folder = tmp_path / width
        cache_features(plain, folder, width=width)  # type: ignore[arg-type]
        more = ("data.labels=answers", *given, f"data.features={folder}")
        train(load_recipe("video_pretrain", settled(tmp_path / f"run{width}", *more)))
        found = [loss for loss, _ in losses(tmp_path / f"run{width}")]
        assert found == pytest.approx(expected, rel=rounding)


def test_going_on(settled: Settings, tmp_path: Path) -> None:
    recipe = load_recipe("video_pretrain", settled(tmp_path / "run", "data.labels=answers"))
    folder = tmp_path / "features"

    def stop(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_features(recipe, folder, file_bytes=1, progress=stop)
    (folder / ".features-000009.safetensors.partial").write_bytes(b"half")
    again = cache_features(recipe, folder, file_bytes=1)
    assert (again.known, again.media) == (3, 2)
    assert len(list(folder.glob("features-*.safetensors"))) == 5
    assert not list(folder.glob(".*.partial"))
    whole = cache_features(recipe, folder)
    assert (whole.known, whole.media) == (5, 0)
    assert whole.samples_s is not None
    assert min(whole.samples_s) > 0


def test_what_does_not_fit(
    settled: Settings, tmp_path: Path, media_folder: Path, records_file: Path
) -> None:
    folder = tmp_path / "features"
    own = tmp_path / "media"
    shutil.copytree(media_folder, own)
    files = f"data.files=[{{path: {records_file}, folder: {own}}}]"
    given = ("data.labels=answers", files, f"data.features={folder}", "data.max_skipped=1.0")
    recipe = load_recipe("video_pretrain", settled(tmp_path / "run", *given))
    with pytest.raises(FeatureError, match="holds no features"):
        train(recipe)
    cache_features(recipe, folder)

    def refused(match: str, *more: str) -> None:
        run = tmp_path / match
        other = load_recipe("video_pretrain", settled(run, *given, *more))
        with pytest.raises(FeatureError, match=match):
            train(other)
        assert not (run / "model").exists()

    refused("trains their encoder", "train.vision=1e-4")
    refused("num_frames differ", "model.num_frames=4")
    refused("media_mode", "model.media_mode=released")
    refused("images, videos", "model.geometry=pad")
    both = ("train.vision=1e-4", "train.audio=1e-4")
    moving = load_recipe("video_pretrain", settled(tmp_path / "y", *given, *both))
    with pytest.raises(FeatureError, match="nothing to store"):
        cache_features(moving, tmp_path / "none")
    # A file that was moved is known by its bytes; one that has changed is not in there.
    (own / "clip.mp4").write_bytes((own / "other.mp4").read_bytes() + b"\0")
    (own / "tone.wav").touch()
    train(recipe)
    lines = (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()
    skipped = [json.loads(line) for line in lines]
    assert {line["id"] for line in skipped} == {"r0"}
    assert "not among the features" in skipped[0]["reason"]
    (folder / "features-000000.safetensors").write_bytes(b"short")
    with pytest.raises(FeatureError, match="are listed"):
        train(load_recipe("video_pretrain", settled(tmp_path / "z", *given)))


def test_command(settled: Settings, tmp_path: Path) -> None:
    out = tmp_path / "features"
    given = settled(tmp_path / "run", "data.labels=answers")
    done = CliRunner().invoke(
        app, ["data", "cache", "video_pretrain", *given, "--out", str(out), "--width", "float32"]
    )
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert "GiB are free" in done.stderr
    assert "samples a second without the features" in done.stderr
