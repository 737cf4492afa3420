"""Panda-70M: clips of YouTube videos, captioned by several models.

Publisher: github.com/snap-research/Panda-70M, `dataset_dataloading/README.md`. The CSV files
(`panda70m_training_full.csv`, `_10m`, `_2m`) have the columns `videoID`, `url`, `timestamp`,
`caption`, `matching_score`; the last three hold Python lists, one entry a clip. The publisher's
downloader stores shards of 100 videos in the CSV's order: `00000/0000000_00000.mp4` is shard, then
the video's number in seven digits, then the clip's; beside each clip lies its caption as `.txt`.

Task "caption" goes by the CSV, task "downloaded" by what the downloader left, whatever the order.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.errors import RowError
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, csv_rows, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import VIDEO_CAPTION

_FIELDS = ("videoID", "timestamp", "caption")


def _from_csv(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    order = -1

    def clips(row: Row) -> Iterator[Record]:
        nonlocal order
        order += 1
        video = row.text("videoID")
        captions = _list(row, "caption")
        if len(captions) != len(_list(row, "timestamp")):
            raise RowError("'caption' and 'timestamp' are not of one length")
        for clip, text in enumerate(captions):
            path = f"{order // 100:05d}/{order:07d}_{clip:05d}.mp4"
            yield caption(f"panda-70m/{video}_{clip:05d}", "video", path, str(text).strip())

    yield from each(files[0], csv_rows(files[0], _FIELDS), clips)


def _list(row: Row, field: str) -> list[Any]:
    text = row.text(field)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, list) or not value:
        raise RowError(f"{field!r} holds no list")
    return cast(list[Any], value)


def _from_folder(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    for shard in sorted(path for path in files[0].iterdir() if path.is_dir()):
        for file in sorted(shard.glob("*.txt")):
            path = file.with_suffix(".mp4").relative_to(files[0]).as_posix()
            if text := file.read_text(encoding="utf-8-sig", errors="replace").strip():
                yield caption(f"panda-70m/{file.stem}", "video", path, text)
            else:
                yield Skipped(path, "an empty caption", fault=True)


PANDA_70M = DataSet(
    name="panda-70m",
    title="Panda-70M",
    kind="video",
    source="https://github.com/snap-research/Panda-70M",
    licence="non-commercial research (Snap's terms); the videos are YouTube's uploaders'",
    stage="pre-training",
    paper_size=2_800_000,
    tasks=(
        Task("caption", ("panda70m_training_full.csv",), _FIELDS, VIDEO_CAPTION, _from_csv),
        Task("downloaded", (".",), ("*/*.txt",), VIDEO_CAPTION, _from_folder),
    ),
)
