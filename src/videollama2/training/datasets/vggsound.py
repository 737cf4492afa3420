"""VGGSound: ten seconds of YouTube videos whose sound is seen to be made.

Publisher: robots.ox.ac.uk/~vgg/data/vggsound: `vggsound.csv`, no header: YouTube id, start second,
label, "train" or "test". Clips are `<id>_<start in six digits>.mp4` and `.wav`, as in the
publisher's github.com/hche11/VGGSound (`data/test.csv`, `datasets/dataloader.py`), here in
`video/` and `audio/` or in the root. The rows of the test split are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from videollama2.training.datasets.base import DataSet, Read, Task
from videollama2.training.datasets.errors import PassedOverError, RowError
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, column_rows, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import HEARD_AND_SEEN, SOUND_LABEL

_FIELDS = ("YouTube ID", "start seconds", "label", "train/test split")


def _reading(kind: Literal["audio", "video"], ending: str) -> Read:
    def clip(row: Row) -> Iterable[Record]:
        video, _, label, split = (row.text(field) for field in _FIELDS)
        if split not in ("train", "test"):
            raise RowError("the split is neither train nor test")
        if split == "test":
            raise PassedOverError("of the test split")
        name = f"{video}_{int(row.number('start seconds')):06d}"
        path = f"{name}{ending}"
        yield caption(f"vggsound/{name}/{kind}", kind, f"{kind}/{path}", label, (path,))

    def read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
        yield from each(files[0], column_rows(files[0], _FIELDS), clip)

    return read


VGGSOUND = DataSet(
    name="vggsound",
    title="VGGSound",
    kind="audio, video",
    source="https://www.robots.ox.ac.uk/~vgg/data/vggsound/",
    licence="CC BY 4.0; the videos are YouTube's uploaders'",
    stage="audio",
    paper_note="one of those behind 698K of audio tuning",
    tasks=(
        Task("sound", ("vggsound.csv",), _FIELDS, SOUND_LABEL, _reading("audio", ".wav")),
        Task("audio-visual", ("vggsound.csv",), _FIELDS, HEARD_AND_SEEN, _reading("video", ".mp4")),
    ),
)
