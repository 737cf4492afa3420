"""A small set of records of every kind, and a recipe that trains the tiny model on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def released(index: int, name: str) -> dict[str, Any]:
    """A record in the released form about a file (or about none)."""
    kind = {".mp4": "video", ".wav": "audio", ".png": "image"}.get(Path(name).suffix)
    question = f"<{kind}>\nWhat is number {index}?" if kind else "What is it?"
    talk = [{"from": "human", "value": question}, {"from": "gpt", "value": f"It is {index}."}]
    return {"id": f"r{index}", "conversations": talk, **({kind: name} if kind else {})}


@pytest.fixture(scope="session")
def records_file(media_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven records: an audio-visual clip, a sound, a picture, silent and short clips, texts."""
    names = ("clip.mp4", "tone.wav", "picture.png", "silent.mp4", "other.mp4", "", "")
    file = tmp_path_factory.mktemp("records") / "records.json"
    file.write_text(json.dumps([released(index, name) for index, name in enumerate(names)]))
    return file


@pytest.fixture(scope="session")
def settings(records_file: Path, media_folder: Path, tiny_folder: Path) -> Callable[..., list[str]]:
    """Settings that make any recipe small: `settings(run_folder, *more)`."""

    def make(folder: Path, *more: str) -> list[str]:
        return [
            f"model.start={tiny_folder}",
            f"data.files=[{{path: {records_file}, folder: {media_folder}}}]",
            f"run.folder={folder}",
            "model.num_frames=8",
            "data.ratio=null",
            "data.workers=0",
            "batch.total=4",
            "batch.per_device=2",
            "optimizer.epochs=4",
            "run.save_every=2",
            *more,
        ]

    return make
