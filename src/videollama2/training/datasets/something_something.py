"""Something-Something v2: people doing things with everyday objects.

Publisher: qualcomm.com/developer/software/something-something-v-2-dataset:
`something-something-v2-train.json` (`labels/train.json` in later packages), a list of {`id`,
`label`: "moving drawer", `template`: "Moving [something]", `placeholders`: ["drawer"]}; videos at
`20bn-something-something-v2/<id>.webm`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Read, Task
from videollama2.training.datasets.json_stream import json_rows
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import ACTION_LABEL, VIDEO_CAPTION

_FILES = ("something-something-v2-train.json",)


def _reading(answer: Callable[[Row], str]) -> Read:
    def clip(row: Row) -> Iterable[Record]:
        name = f"{row.text('id')}.webm"
        elsewhere = (f"videos/{name}", name)
        path = f"20bn-something-something-v2/{name}"
        yield caption(f"ssv2/{row.text('id')}", "video", path, answer(row), elsewhere)

    def read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
        yield from each(files[0], json_rows(files[0]), clip)

    return read


def _class_of(row: Row) -> str:
    return row.text("template").replace("[", "").replace("]", "")


SOMETHING_SOMETHING_V2 = DataSet(
    name="something-something-v2",
    title="Something-Something v2",
    kind="video",
    source="https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
    licence="Qualcomm's data licence: research use",
    stage="fine-tuning",
    paper_note="with Kinetics-710, 79K of video classification",
    tasks=(
        Task("classify", _FILES, ("id", "template"), ACTION_LABEL, _reading(_class_of)),
        Task(
            "caption",
            _FILES,
            ("id", "label"),
            VIDEO_CAPTION,
            _reading(lambda row: row.text("label")),
        ),
    ),
)
