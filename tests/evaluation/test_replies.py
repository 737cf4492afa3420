"""Files that only grow: whatever is in a reply comes back; being killed costs the last line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.evaluation.errors import EvaluationError
from videollama2.evaluation.replies import (
    Failure,
    Reply,
    read_lines,
    read_replies,
    replies_file,
)
from videollama2.storage.lines import GrowingFile

texts = st.text(st.characters(), max_size=40)
replies = st.builds(
    Reply,
    id=texts,
    prompts=st.lists(texts, max_size=2).map(tuple),
    answers=st.lists(texts, max_size=2).map(tuple),
    failure=st.none() | st.builds(Failure, st.sampled_from(["missing", "unreadable"]), texts),
    notes=st.lists(texts, max_size=2).map(tuple),
    timings_ms=st.dictionaries(texts, st.floats(0, 1e6), max_size=2),
)


@given(st.lists(replies, max_size=4, unique_by=lambda reply: reply.id), st.integers(0, 200))
def test_what_is_written_comes_back_and_a_kill_costs_the_last_line(
    tmp_path_factory: pytest.TempPathFactory, written: list[Reply], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    path = replies_file(folder, 0)
    file = GrowingFile(path)
    file.append([reply.as_dict() for reply in written[:1]])
    file.append([reply.as_dict() for reply in written[1:]])
    assert list(read_replies(folder).values()) == written
    content = path.read_bytes()
    path.write_bytes(content[: max(len(content) - cut, 0)])
    left = list(read_replies(folder).values())
    assert left == written[: len(left)]
    missing = written[len(left) :]
    GrowingFile(path).append([reply.as_dict() for reply in missing])
    assert list(read_replies(folder).values()) == written


def test_odd_characters_end_no_line(tmp_path: Path) -> None:
    reply = Reply("\u2028\x85", ("a\nb\r\n\x0b\x1c",), ("\ud800 lone", "🎬"))
    GrowingFile(tmp_path / "replies-0.jsonl").append([reply.as_dict()])
    assert read_replies(tmp_path) == {reply.id: reply}
    assert len((tmp_path / "replies-0.jsonl").read_text().splitlines()) == 1


def test_the_first_of_two_counts(tmp_path: Path) -> None:
    for rank, text in enumerate("xy"):
        GrowingFile(replies_file(tmp_path, rank)).append([Reply("1", ("?",), (text,)).as_dict()])
    assert read_replies(tmp_path)["1"].answers == ("x",)


def test_damage_inside_is_named(tmp_path: Path) -> None:
    (tmp_path / "replies-0.jsonl").write_text('{"id": \n{}\n')
    with pytest.raises(EvaluationError, match=r"replies-0.jsonl: line 1 is damaged"):
        read_replies(tmp_path)
    (tmp_path / "replies-0.jsonl").write_text("{}\n")
    with pytest.raises(EvaluationError, match="another form"):
        read_replies(tmp_path)
    assert read_lines(tmp_path / "none.jsonl") == []
