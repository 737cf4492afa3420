"""DCI (Densely Captioned Images): SA-1B pictures described by people, down to their parts.

Publisher: github.com/facebookresearch/DCI, README "Full": `complete/` holds one JSON object a
picture: `image`, `short_caption`, `extra_caption`, `mask_data` {key: {`label`, `caption`,
`mask_quality` 0 good / 1 low / 2 bad, ...}}, ...; the pictures are in `photos/`.
The paper took all of them, so the publisher's test pictures are among the records.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from videollama2.training.datasets.base import DataSet, Read, Task
from videollama2.training.datasets.errors import DataSetError, RowError
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, as_row, each, opened
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import IMAGE_CAPTION, IMAGE_PARAGRAPH

_FIELDS = ("image", "short_caption", "extra_caption", "mask_data")


def _reading(describe: Callable[[Row], str]) -> Read:
    def picture(row: Row) -> Iterable[Record]:
        image = row.text("image")
        yield caption(f"dci/{image}", "image", f"photos/{image}", describe(row))

    def read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
        yield from each(files[0], _objects(files[0]), picture)

    return read


def _objects(folder: Path) -> Iterator[Row]:
    if not folder.is_dir():
        raise DataSetError(folder, "this is no folder", "Give the published `complete` folder")
    for file in sorted(folder.glob("*.json")):
        with opened(file) as stream:
            try:
                value = json.load(stream)
            except json.JSONDecodeError:
                value = None
        yield as_row(file.name, value)


def _whole(row: Row) -> str:
    """The short caption and, where there is one, the long one after it."""
    extra = str(row.values.get("extra_caption") or "").strip()
    return f"{row.text('short_caption')}\n{extra}".strip()


def _dense(row: Row) -> str:
    """The whole picture, then every part that has a good description."""
    parts = row.values.get("mask_data")
    if not isinstance(parts, dict):
        raise RowError("'mask_data' is no object")
    lines = [_whole(row)]
    for value in cast(dict[str, Any], parts).values():
        part = as_row(row.where, value)
        if part.number("mask_quality") == 0:
            lines.append(f"{part.text('label')}: {part.text('caption')}")
    return "\n".join(lines)


DCI = DataSet(
    name="dci",
    title="Densely Captioned Images",
    kind="image",
    source="https://github.com/facebookresearch/DCI",
    licence="CC BY-NC; the pictures under SA-1B's research licence",
    licence_verified=True,
    stage="pre-training",
    paper_size=7_800,
    tasks=(
        Task("caption", ("complete",), _FIELDS, IMAGE_PARAGRAPH, _reading(_whole)),
        Task("dense", ("complete",), _FIELDS, IMAGE_PARAGRAPH, _reading(_dense)),
        Task(
            "short",
            ("complete",),
            _FIELDS,
            IMAGE_CAPTION,
            _reading(lambda row: row.text("short_caption")),
        ),
    ),
)
