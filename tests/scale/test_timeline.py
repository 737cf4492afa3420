"""Long clips told window by window: in order, merged, with files that players and parsers take."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import clips
import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from videollama2.assistant import VideoLlama2
from videollama2.cli.main import app
from videollama2.generation.settings import SamplingSettings
from videollama2.scale.pieces import pieces_of, write_srt, write_vtt
from videollama2.scale.subtitles import clock, cue_text, srt_cue
from videollama2.scale.timeline import seconds_of
from videollama2.storage.lines import GrowingFile, iterate_lines


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["timeline", *map(str, arguments)])
    return done.exit_code, done.stderr


def row(index: int, text: str | None, **more: Any) -> dict[str, Any]:
    failure = None if text is not None else "unreadable"
    answers = [] if text is None else [text]
    return {"clip": str(index), "start": 10.0 * index, "end": 10.0 * index + 10, "answers": answers,
            "failure": failure, "reason": "gone" if failure else None, "thumbnail": "",
            "levels": [0.1] * 20, **more}  # fmt: skip


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_clip_is_told_and_goes_on(tiny_folder: Path, tmp_path: Path) -> None:
    clip = clips.write_video(tmp_path / "a.mp4", 7.4)
    out = tmp_path / "told"
    words = (clip, "--every", "2s", "--model", tiny_folder, "--max-new-tokens", 5, "--out", out)
    code, said = run(*words)
    assert code == 0, said
    rows = list(iterate_lines(out / ".rows.rows.jsonl"))
    assert [one["start"] for one in rows] == [0.0, 2.0, 4.0, 6.0]
    assert [one["clip"] for one in rows] == ["0", "1", "2", "3"]
    assert all(one["thumbnail"] and len(one["levels"]) == 20 for one in rows)
    told = json.loads((out / "timeline.json").read_text())
    assert (told["pieces"][0]["start"], round(told["pieces"][-1]["end"], 1)) == (0.0, 7.4)
    page = Page()
    page.feed((out / "timeline.html").read_text())
    assert page.tags.count("img") == page.tags.count("svg") == len(told["pieces"])
    whole = [(out / name).read_bytes() for name in ("timeline.srt", "timeline.html")]
    journal = out / ".rows.rows.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]) + lines[2][:40])  # killed there
    assert run(*words)[0] == 0
    assert [(out / name).read_bytes() for name in ("timeline.srt", "timeline.html")] == whole


def test_words_are_those_of_the_model_for_that_window(tiny_folder: Path, tmp_path: Path) -> None:
    clip = clips.write_video(tmp_path / "a.mp4", 4.0, sound=False)
    words = (clip, "--every", "4s", "--model", tiny_folder, "--max-new-tokens", 8, "--out")
    assert run(*words, tmp_path / "o")[0] == 0
    (one,) = iterate_lines(tmp_path / "o" / ".rows.rows.jsonl")
    settings = SamplingSettings(8, 0.2, 0.9, seed=0)
    model = VideoLlama2.from_pretrained(tiny_folder)
    asked = model.ask("Describe what is seen and heard.", video=clip, max_new_tokens=8,
                      temperature=settings.temperature, top_p=settings.top_p, seed=0)  # fmt: skip
    assert one["answers"] == [str(asked)]


def test_equal_windows_become_one(tmp_path: Path) -> None:
    texts = ["A dog.", "a dog", "A cat.", None, None, "A cat."]
    GrowingFile(tmp_path / "r.jsonl").append([row(n, text) for n, text in enumerate(texts)])
    pieces = list(pieces_of(tmp_path / "r.jsonl"))
    assert [(one.start, one.end, one.windows) for one in pieces] == [
        (0, 20, 2), (20, 30, 1), (30, 50, 2), (50, 60, 1)]  # fmt: skip
    assert [one.failure for one in pieces] == [None, None, "gone", None]


def test_a_long_piece_stays_small(tmp_path: Path) -> None:
    GrowingFile(tmp_path / "r.jsonl").append([row(n, "same") for n in range(500)])
    (piece,) = pieces_of(tmp_path / "r.jsonl")
    assert len(piece.levels) <= 240
    assert piece.windows == 500


def test_subtitles_hold_whatever_is_said(tmp_path: Path) -> None:
    texts = ["a --> b\n\n2\n00:00:01,000 --> 00:00:02,000\nx", "<b>&amp;", "\u2028", "1"]
    GrowingFile(tmp_path / "r.jsonl").append([row(n, text) for n, text in enumerate(texts)])
    write_srt(tmp_path / "a.srt", pieces_of(tmp_path / "r.jsonl"))
    write_vtt(tmp_path / "a.vtt", pieces_of(tmp_path / "r.jsonl"))
    for name in ("a.srt", "a.vtt"):
        cues = pysubs2.load(str(tmp_path / name))
        assert [(cue.start, cue.end) for cue in cues] == [
            (10_000 * n, 10_000 * n + 10_000) for n in range(4)]  # fmt: skip
    assert "&lt;b>&amp;amp;" in (tmp_path / "a.vtt").read_text()


TIMES = st.lists(
    st.sampled_from(["00:00:01,000", "01:02.300", "-->", "->", " ", "\n", "1", "\u2028", "a"]),
    max_size=9,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("0123:.,->\n\r a", max_size=60) | TIMES, min_size=1, max_size=3))
def test_no_caption_is_taken_for_a_cue(texts: list[str]) -> None:
    srt = "".join(srt_cue(n + 1, 10 * n, 10 * n + 10, text) for n, text in enumerate(texts))
    vtt = "WEBVTT\n\n" + "".join(
        f"{clock(10 * n, '.')} --> {clock(10 * n + 10, '.')}\n{cue_text(text)}\n\n"
        for n, text in enumerate(texts)
    )
    for written, form in ((srt, "srt"), (vtt, "vtt")):
        cues = pysubs2.SSAFile.from_string(written, format_=form)
        assert [(cue.start, cue.end) for cue in cues] == [
            (10_000 * n, 10_000 * n + 10_000) for n in range(len(texts))]  # fmt: skip


def test_times_and_clips_that_cannot_be_used(tiny_folder: Path, tmp_path: Path) -> None:
    assert [seconds_of(text) for text in ("10s", "2m", "1h30m", "0.5", "90", "1h2m3s")] == [
        10, 120, 5400, 0.5, 90, 3723]  # fmt: skip
    for wrong in ("", "0", "-1s", "s", "1x", "10s2m"):
        with pytest.raises(ValueError, match="like 10s"):
            seconds_of(wrong)
    code, said = run(tmp_path / "none.mp4", "--model", tiny_folder, "--out", tmp_path / "o")
    assert code == 1
    assert re.search(r"none\.mp4.*no such file", said)
