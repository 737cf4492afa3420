"""A whole session: what is written beside the reports, and what they say of it."""

from __future__ import annotations

from pathlib import Path

from miniatures import miniatures
from stubs import StubAnswerer

from videollama2.evaluation.registry import find
from videollama2.evaluation.report import Entry, as_markdown
from videollama2.evaluation.run import Choice
from videollama2.evaluation.session import Session
from videollama2.evaluation.sharding import Place


def run(name: str, folder: Path, choice: Choice) -> Entry:
    task = find(name)
    data = miniatures()[name].lay_out(folder / "data", task.folder)
    session = Session(data, folder / "out", choice, Place(), lambda what, done, total: None)
    questions = session.questions(task)
    entry = session.run(task, questions, StubAnswerer(lambda question: ("B",)), None)
    assert entry is not None
    return entry


def test_a_submission_holds_all_questions_or_is_not_written(tmp_path: Path) -> None:
    entry = run("egoschema", tmp_path / "full", Choice())
    file = tmp_path / "full/out/egoschema/submission.csv"
    assert len(file.read_text().splitlines()) == 1 + 4
    assert "- submission.csv: the EgoSchema competition on Kaggle" in as_markdown([entry])
    for choice in (Choice(split="subset"), Choice(limit=2)):
        part = tmp_path / f"{choice.split} {choice.limit}"
        text = as_markdown([run("egoschema", part, choice)])
        assert not (part / "out/egoschema/submission.csv").exists()
        assert "- submission.csv is written only of all questions of split full." in text
    assert "submission" not in as_markdown([run("mvbench", tmp_path / "mvbench", Choice())])


def test_what_was_noted_of_answers_is_counted(tmp_path: Path) -> None:
    text = as_markdown([run("videomme_subtitles", tmp_path, Choice())])
    assert "answers: no subtitles." in text
