"""The Video-LLaVA sets of the released quick start: videos, images and text, mixed already.

Publisher: github.com/PKU-YuanGroup/Video-LLaVA (`TRAIN_AND_VALIDATE.md`); file names and layout as
in the released README: `videollava_pt/valley_llavaimage.json` beside `valley/` and `llava_image/`,
`videollava_sft/videochatgpt_llavaimage_tune.json` beside `videochatgpt_tune/` and
`llava_image_tune/`. Lists of {`id`, `video` or `image` or neither, `conversations`: [{`from`,
`value`}]}; --root is `videollava_pt` or `videollava_sft`. A row with both is an image's, as in the
released code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Read, Task
from videollama2.training.datasets.json_stream import json_rows
from videollama2.training.datasets.making import conversation
from videollama2.training.datasets.reading import Row, each
from videollama2.training.datasets.record import Kind, Record, Skipped
from videollama2.training.datasets.wordings import QUESTION

_FIELDS = ("image", "video", "conversations")


def _reading(prefix: str) -> Read:
    def read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
        told = 0

        def row_record(row: Row) -> Iterable[Record]:
            nonlocal told
            told += 1  # ids come twice in these files: the row's number is the id
            kind = _kind(row)
            media = "" if kind == "text" else row.text(kind)
            yield Record(f"{prefix}/{told}", kind, media, conversation(row, kind))

        yield from each(files[0], json_rows(files[0]), row_record)

    return read


def _kind(row: Row) -> Kind:
    if "image" in row.values:
        return "image"
    return "video" if "video" in row.values else "text"


def _data_set(name: str, title: str, file: str, size: int, note: str) -> DataSet:
    return DataSet(
        name=name,
        title=title,
        kind="video, image, text" if "fine" in name else "video, image",
        source="https://github.com/PKU-YuanGroup/Video-LLaVA",
        licence="as its sources' (LLaVA, Valley, Video-ChatGPT): research, non-commercial",
        stage="quick start",
        paper_size=size,
        paper_note=note,
        tasks=(
            Task("instructed", (file,), _FIELDS, QUESTION, _reading(name), slots=("question",)),
        ),
    )


PRETRAIN = _data_set(
    "video-llava-pretrain",
    "Video-LLaVA pre-training",
    "valley_llavaimage.json",
    1_261_000,
    "703K videos, 558K images; released scripts, and the paper's ablations",
)
FINETUNE = _data_set(
    "video-llava-finetune",
    "Video-LLaVA fine-tuning",
    "videochatgpt_llavaimage_tune.json",
    765_000,
    "100K videos, 625K images, 40K texts; released scripts, and the paper's ablations",
)
