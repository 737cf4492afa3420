"""CC-3M: the concept-balanced 595K subset that LLaVA published, which is what the paper took.

Publisher: huggingface.co/datasets/liuhaotian/LLaVA-CC3M-Pretrain-595K: `chat.json`, a list of
{`id`: "GCC_train_001738742", `image`: "GCC_train_001738742.jpg", `conversations`: [{`from`:
"human", `value`: "Provide a brief description of the given image.\\n<image>"}, {`from`: "gpt",
`value`: the caption}]}; the pictures are `images.zip`, unpacked here to `images/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.json_stream import json_rows
from videollama2.training.datasets.making import conversation
from videollama2.training.datasets.reading import Row, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import IMAGE_CAPTION, QUESTION

_FIELDS = ("id", "image", "conversations")


def _read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    yield from each(files[0], json_rows(files[0]), _picture)


def _picture(row: Row) -> Iterator[Record]:
    image = row.text("image")
    turns = conversation(row, "image")
    yield Record(f"cc-3m/{row.text('id')}", "image", f"images/{image}", turns, (image,))


CC_3M = DataSet(
    name="cc-3m",
    title="CC-3M (LLaVA's 595K)",
    kind="image",
    source="https://huggingface.co/datasets/liuhaotian/LLaVA-CC3M-Pretrain-595K",
    licence="as CC-3M's (free use, acknowledgement asked) and BLIP's; the images are their owners'",
    stage="pre-training",
    paper_size=595_000,
    tasks=(
        Task("instructed", ("chat.json",), _FIELDS, QUESTION, _read, slots=("question",)),
        Task("caption", ("chat.json",), _FIELDS, IMAGE_CAPTION, _read, slots=("question",)),
    ),
)
