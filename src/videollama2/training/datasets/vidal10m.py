"""VIDAL-10M: short YouTube videos with generated captions.

Publisher: github.com/PKU-YuanGroup/LanguageBind, `DATASETS.md`: one JSON object, video id ->
{`folder`, `mplug`, `polish_mplug`, `ofa` (8 captions), `sound_mplug`, `raw` (title)}; the
publisher's code reads the video at `<folder>/<id>.mp4`. The page does not name the file itself:
ours is `vidal10m.json`, `--annotation` takes any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.json_stream import json_members
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import VIDEO_CAPTION


def _read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    rows = (
        Row(row.where, {**row.values, "id": name}) if row.values else row
        for name, row in json_members(files[0])
    )
    yield from each(files[0], rows, _clip)


def _clip(row: Row) -> Iterator[Record]:
    text = row.text("polish_mplug")
    video = row.text("id")
    path = f"{row.text('folder')}/{video}.mp4"
    yield caption(f"vidal-10m/{video}", "video", path, text)


VIDAL_10M = DataSet(
    name="vidal-10m",
    title="VIDAL-10M",
    kind="video",
    source="https://github.com/PKU-YuanGroup/LanguageBind",
    licence="CC BY-NC 4.0; the videos are YouTube's uploaders'",
    licence_verified=True,
    stage="pre-training",
    paper_size=2_800_000,
    tasks=(Task("caption", ("vidal10m.json",), ("folder", "polish_mplug"), VIDEO_CAPTION, _read),),
)
