"""The Video-MME rule for subtitles: those that are up at the sampled frames.

Source: the released `eval/inference_video_mcqa_videomme.py`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from videollama2.evaluation.errors import AnnotationError, EvaluationError
from videollama2.evaluation.task import MediaFile
from videollama2.media.probe import probe


def subtitle_frames(total: int, num_frames: int) -> list[int]:
    """The frames whose time decides: the middle of segments whose ends are rounded first.

    Unlike the frames that the model sees, which are rounded once.
    """
    segment = float(total - 1) / num_frames
    edges = [int(np.round(segment * n)) for n in range(num_frames + 1)]
    return [(first + last) // 2 for first, last in pairwise(edges)]


def subtitles_text(file: Path, video: MediaFile, num_frames: int) -> str:
    """The subtitles up at `num_frames` moments of the video, a line each; duplicates are kept.

    Raises:
        MediaError: the video cannot be read.
        AnnotationError: the file is no subtitles.
        EvaluationError: pysubs2 is not installed.
    """
    try:
        import pysubs2
    except ImportError:
        raise EvaluationError(
            file, "reading subtitles needs pysubs2", "Run pip install 'videollama2[eval]'"
        ) from None
    library: Any = pysubs2
    found = probe(video.path)
    if not found.num_frames or not found.fps:
        return ""
    if not file.read_bytes().strip():
        return ""
    try:
        lines: Any = library.load(str(file), encoding="utf-8")
    except (library.Pysubs2Error, ValueError, LookupError, ArithmeticError) as error:
        raise AnnotationError(file, f"no subtitles ({error})") from None
    taken: list[str] = []
    for frame in subtitle_frames(found.num_frames, num_frames):
        now = library.make_time(fps=found.fps, frames=frame)
        text = next((line.text for line in lines if line.start < now < line.end), "")
        text = text.replace("\\N", " ")
        if text.strip():
            taken.append(text)
    return "\n".join(taken)
