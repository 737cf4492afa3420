"""TUT Acoustic Scenes 2017, development set: ten seconds of fifteen kinds of places.

Publisher: zenodo.org/record/400515: `meta.txt`, tab-separated without header: audio file
("audio/b020_90_100.wav"), scene label ("beach"), recording id ("b020"). The released evaluation
uses the evaluation set, which is published apart.
"""

from __future__ import annotations

from videollama2.training.datasets.base import DataSet
from videollama2.training.datasets.tut2016 import scene_tasks

TUT2017 = DataSet(
    name="tut2017",
    title="TUT Acoustic Scenes 2017",
    kind="audio",
    source="https://zenodo.org/record/400515",
    licence="free for non-commercial use (Tampere University of Technology's EULA)",
    stage="audio",
    paper_note="one of those behind 698K of audio tuning",
    tasks=scene_tasks("tut2017"),
)
