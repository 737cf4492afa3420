"""Miniatures of the benchmarks' published files, one benchmark a file, found like the tasks.

A module here defines `MINIATURE`, a `Miniature`; `test_every_task.py` puts every benchmark to the
same tests with it.
"""

from __future__ import annotations

import pkgutil
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Literal

import clips
from PIL import Image
from stubs import Answers, letter

Medium = Literal["clip", "other", "silent", "tone", "frames", "broken"]


@dataclass(frozen=True)
class Miniature:
    """Published files of a benchmark in little.

    `files`: path under the benchmark's folder -> text, or what writes the file at a path.
    `media`: path -> what lies there: a clip of two seconds ("clip"), one of one second ("other"),
    one without sound ("silent"), a second of sound ("tone"), a folder of frames ("frames"),
    garbage ("broken").
    `questions`: how many there are; `missing`: ids of those whose medium is not there.
    `right`: the right answer of each question in order, by hand: a letter, or the first reference.
    `oracle`: the answers that score full marks.
    `required`: (file, field) without which reading is refused, naming both.
    `optional`: files without which reading goes on.
    """

    task: str
    files: Mapping[str, str | Callable[[Path], object]]
    media: Mapping[str, Medium]
    questions: int
    right: tuple[str, ...]
    missing: tuple[str, ...] = ()
    oracle: Answers = letter
    required: tuple[tuple[str, str], ...] = ()
    optional: tuple[str, ...] = ()
    split: str | None = None

    def lay_out(self, data: Path, folder: str) -> Path:
        """Write everything under `data / folder`, and return `data`."""
        root = data / folder
        for path, content in self.files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                file.write_text(content, encoding="utf-8")
            else:
                content(file)
        for path, medium in self.media.items():
            _put(root / path, medium)
        return data


@cache
def miniatures() -> dict[str, Miniature]:
    """Every miniature, by the name of its benchmark."""
    found = [
        value
        for module in pkgutil.iter_modules(__path__, f"{__name__}.")
        for value in vars(import_module(module.name)).values()
        if isinstance(value, Miniature)
    ]
    return {one.task: one for one in found}


@cache
def _made() -> dict[str, bytes]:
    """The media that miniatures use, made once."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = {
            "clip": clips.write_video(root / "clip.mp4"),
            "other": clips.write_video(root / "other.mp4", 1.0, seed=1),
            "silent": clips.write_video(root / "silent.mp4", sound=False),
            "tone": clips.write_wav(root / "tone.wav"),
        }
        return {name: file.read_bytes() for name, file in files.items()}


def _put(path: Path, medium: Medium) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if medium == "frames":
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        for number, frame in enumerate(clips.frames(12), 1):
            Image.fromarray(frame).save(path / f"{number:05d}.jpg")
    elif medium == "broken":
        path.write_bytes(b"no medium at all" * 50)
    else:
        path.write_bytes(_made()[medium])
