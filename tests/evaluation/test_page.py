"""Reports: one file that needs nothing else, whatever is in the questions and answers."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from miniatures import miniatures
from PIL import Image
from stubs import evaluate

from videollama2.evaluation.page import as_page, shown
from videollama2.evaluation.registry import find
from videollama2.evaluation.replies import Failure
from videollama2.evaluation.report import Entry, as_markdown, main_rows, remarks

HOSTILE = '<script>alert("x")</script> | & \n| --- |'


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def entry_of(tmp_path: Path, said: str = HOSTILE) -> Entry:
    task, mini = find("mvbench"), miniatures()["mvbench"]
    data = mini.lay_out(tmp_path / "data", task.folder)
    (data / task.folder / "video/vlnqa/17.mp4").write_bytes(b"garbage" * 99)
    summary, samples = evaluate(
        task, data, lambda q: q.references if q.id.endswith("1") else (said,), tmp_path / "out"
    )
    settings = {"model": f"<b>{said}</b>", "temperature": 0, "num_frames": 8, "split": "test"}
    return Entry(task, summary, samples, settings)


def test_page_is_whole_and_safe(tmp_path: Path) -> None:
    page = as_page([entry_of(tmp_path)])
    links = Links()
    links.feed(page)
    assert "script" not in links.tags
    assert "b" in links.tags  # answers are set off; that of the model's name is escaped
    assert "&lt;script&gt;" in page
    assert links.sources
    for source in links.sources:
        head, _, text = source.partition(",")
        assert head == "data:image/jpeg;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(text)))
        assert max(picture.size) <= 240
    assert "(missing)" in page or "missing" in page
    assert not re.search(r"(?:src|href)\s*=\s*\"?http", page)


def test_shown_samples_are_right_and_wrong_ones(tmp_path: Path) -> None:
    entry = entry_of(tmp_path)
    taken = shown(entry.samples, entry.task, 6)
    right = [one.marks.strict.scores["accuracy"] for one in taken]
    assert len(taken) == len({one.question.id for one in taken}) == 6
    assert sorted(right) == [0, 0, 0, 1, 1, 1]
    assert shown([], entry.task) == []
    assert len(shown(entry.samples, entry.task, 1000)) == 40


def test_markdown_tables_keep_their_columns(tmp_path: Path) -> None:
    text = as_markdown([entry_of(tmp_path)])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert widths == {7}
    assert "| MVBench | accuracy |" in text
    assert "Published accuracy: VideoLLaMA2-7B 53.4" in text


def test_the_first_reason_of_each_failure_is_told(tmp_path: Path) -> None:
    entry = entry_of(tmp_path)
    failed = [
        replace(one, reply=replace(one.reply, answers=(), failure=Failure("refused", f"too\n{n}")))
        for n, one in enumerate(entry.samples[:3])
    ]
    told = remarks(replace(entry, samples=[*failed, *entry.samples[3:]]))
    assert [line for line in told if "first" in line] == [
        "The first refused: Action Sequence 0: too 0."  # missing media are only counted
    ]


def test_figures_and_remarks(tmp_path: Path) -> None:
    entry = entry_of(tmp_path, said="no idea")
    name, metric, released, strict, published, count = main_rows(entry)[0]
    assert (name, metric, published, count) == ("MVBench", "accuracy", "", "40")
    # 20 first items: the default C is right in half of them; 20 second ones are right or missing.
    assert strict.startswith("47.5 [")
    assert float(released.split()[0]) > 47.5
    lines = "\n".join(remarks(entry))
    assert "40 questions, 38 answered, 2 missing" in lines
    assert "19 answers cannot be parsed" in lines
    assert "19 answers took the released default letter C" in lines
    assert "Guessing scores 29.2" in lines
