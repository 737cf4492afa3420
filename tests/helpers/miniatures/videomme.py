"""Video-MME's Parquet file, videos by YouTube id, subtitles with and without."""

from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet

from miniatures import Miniature

OPTIONS = ["A. Apples.", "B. Three.", "C. Ünder the tree.", "D. 12."]
ROWS = [
    {
        "video_id": f"{1 + number // 2:03d}",
        "videoID": video,
        "url": f"https://www.youtube.com/watch?v={video}",
        "duration": duration,
        "domain": "Knowledge",
        "sub_category": "Technology" if number < 3 else "Law",
        "question_id": f"{1 + number // 2:03d}-{number % 2 + 1}",
        "task_type": "Counting Problem",
        "question": f"What is seen in moment {number}?",
        "options": OPTIONS,
        "answer": "ABCDA"[number],
    }
    for number, (video, duration) in enumerate(
        [
            ("aB-1_x", "short"),
            ("aB-1_x", "short"),
            ("cD-2", "long"),
            ("cD-2", "long"),
            ("gone", "long"),
        ]
    )
]
SUBTITLES = """1
00:00:00,000 --> 00:00:00,600
Hello <i>there</i>,
you.

2
00:00:00,600 --> 00:00:01,300
Grüße 你好

3
00:00:05,000 --> 00:00:06,000
past the end
"""


def write(path: Path, rows: list[dict[str, object]] = ROWS) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


MINIATURE = Miniature(
    "videomme",
    {"test-00000-of-00001.parquet": write},
    {"videos/aB-1_x.mp4": "clip", "videos/cD-2.mkv": "silent"},
    questions=5,
    right=tuple("ABCDA"),
    missing=("003-1",),
)
WITH_SUBTITLES = replace(
    MINIATURE,
    task="videomme_subtitles",
    files={**MINIATURE.files, "subtitles/aB-1_x.srt": SUBTITLES},
    optional=("subtitles/aB-1_x.srt",),
)
