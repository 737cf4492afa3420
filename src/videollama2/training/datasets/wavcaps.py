"""WavCaps: sounds of four sources, captioned from their raw descriptions.

Publisher: huggingface.co/datasets/cvssp/WavCaps: `json_files/<source>/<file>_final.json`, each
{`num_captions_per_audio`: 1, `data`: [{`id`, `caption`, `duration`, ...}]} (an earlier release is
the bare list). The archives unpack to `waveforms/<source>_flac/<id>.flac`; AudioSet's ids
("Yb0RFKhbpFJA.wav") lose their ending. `--annotation` takes some of the sources alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from videollama2.training.datasets.base import DataSet, Task
from videollama2.training.datasets.errors import DataSetError
from videollama2.training.datasets.json_stream import json_rows
from videollama2.training.datasets.making import caption
from videollama2.training.datasets.reading import Row, each
from videollama2.training.datasets.record import Record, Skipped
from videollama2.training.datasets.wordings import SOUND_CAPTION

_SOURCES = {
    "fsd_final": "FreeSound",
    "fsd_final_2s": "FreeSound",
    "bbc_final": "BBC_Sound_Effects",
    "sb_final": "SoundBible",
    "as_final": "AudioSet_SL",
}
_FILES = (
    "json_files/FreeSound/fsd_final.json",
    "json_files/BBC_Sound_Effects/bbc_final.json",
    "json_files/SoundBible/sb_final.json",
    "json_files/AudioSet_SL/as_final.json",
)


def _read(files: Sequence[Path], _: Sequence[Path]) -> Iterator[Record | Skipped]:
    for file in files:
        if file.stem not in _SOURCES:
            known = ", ".join(f"{name}.json" for name in _SOURCES)
            raise DataSetError(file, "its name does not tell the source", f"Keep one of: {known}")
        yield from each(file, json_rows(file, "data"), _sound_of(_SOURCES[file.stem]))


def _sound_of(source: str) -> Callable[[Row], Iterator[Record]]:
    def sound(row: Row) -> Iterator[Record]:
        name = row.text("id").split(".")[0]
        path = f"{source}_flac/{name}.flac"
        record_id = f"wavcaps/{source}/{name}"
        yield caption(record_id, "audio", f"waveforms/{path}", row.text("caption"), (path,))

    return sound


WAVCAPS = DataSet(
    name="wavcaps",
    title="WavCaps",
    kind="audio",
    source="https://huggingface.co/datasets/cvssp/WavCaps",
    licence="academic use only (the hub card says CC BY 4.0); the sounds as their sources say",
    licence_verified=True,
    stage="audio",
    paper_size=400_000,
    paper_note="audio pre-training",
    tasks=(Task("caption", _FILES, ("id", "caption"), SOUND_CAPTION, _read, any_number=True),),
)
