"""The Video-MME rule: moments by the old integer formula, the subtitle that is up then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniatures import miniatures
from miniatures.videomme import SUBTITLES
from stubs import StubAnswerer, letter

from videollama2.evaluation.answering import prompts_of
from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.registry import find
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.subtitles import subtitle_frames, subtitles_text
from videollama2.evaluation.task import MediaFile
from videollama2.media.errors import MediaError


@given(st.integers(1, 5000), st.integers(1, 64))
def test_moments(total: int, num_frames: int) -> None:
    """Against the formula, step by step."""
    size = float(total - 1) / num_frames
    expected = []
    for n in range(num_frames):
        first, last = int(np.round(size * n)), int(np.round(size * (n + 1)))
        expected.append((first + last) // 2)
    assert subtitle_frames(total, num_frames) == expected


def test_text(tmp_path: Path, media_folder: Path) -> None:
    """A clip of 20 frames at 10 a second: moments 0.1, 0.3, ... s; duplicates are kept."""
    file = tmp_path / "a.srt"
    file.write_text(SUBTITLES, encoding="utf-8")
    clip = MediaFile("video", "clip", media_folder / "clip.mp4")
    assert subtitle_frames(20, 4) == [2, 7, 12, 16]
    assert subtitles_text(file, clip, 4).split("\n") == [
        "Hello {\\i1}there{\\i0}, you.",  # as the released library gives it
        "Grüße 你好",
        "Grüße 你好",
    ]
    file.write_text("", encoding="utf-8")
    assert subtitles_text(file, clip, 4) == ""
    file.write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(AnnotationError, match="no subtitles"):
        subtitles_text(file, clip, 4)
    with pytest.raises(MediaError):
        subtitles_text(file, MediaFile("video", "x", media_folder / "garbage.mp4"), 4)


def test_prompts(tmp_path: Path) -> None:
    task, mini = find("videomme_subtitles"), miniatures()["videomme_subtitles"]
    data = mini.lay_out(tmp_path / "data", task.folder)
    questions = read_questions(task, data, Choice())
    with_text, notes = prompts_of(questions[0], 8)
    assert with_text[0].startswith("This video's subtitles are listed below:\nHello ")
    assert with_text[0].endswith(questions[0].prompts[0])
    assert notes == []
    without, notes = prompts_of(questions[2], 8)
    assert without[0] == f"This video's subtitles are listed below:\n\n{questions[2].prompts[0]}"
    assert notes == ["no subtitles"]
    replies = StubAnswerer(letter).answer(questions, Choice().decoding(task))
    assert replies[0].prompts == with_text
    assert replies[2].notes == ("no subtitles",)
    assert replies[4].failure is not None
