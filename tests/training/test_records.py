"""Annotation files, in every form, right and wrong."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.processing.parts import AudioInput, ImageInput, VideoInput
from videollama2.training.errors import RecordError, RecordsError
from videollama2.training.records import ReadOptions, absent_files, read_records, record_from

PAIR = [{"from": "human", "value": "<video>\nWhat is seen?"}, {"from": "gpt", "value": "A cat."}]


def pair(question: str, answer: str = "Yes.") -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def test_released_form(tmp_path: Path) -> None:
    """The four records of the official README, a picture under its own key."""
    file = tmp_path / "records.json"
    file.write_text(
        json.dumps(
            [
                {"id": 0, "image": "images/a.jpg", "conversations": pair("<image>\nColours?")},
                {"id": 1, "video": "videos/b.mp4", "conversations": pair("What?\n<video>")},
                {"id": 2, "audio": "/abs/c.wav", "conversations": pair("<audio>\nSound?")},
                {"id": 3, "conversations": pair("text only")},
            ],
            indent=1,
        )
    )
    image, video, audio, text = read_records(file, ReadOptions(Path("/data")))
    assert image.media == (ImageInput("/data/images/a.jpg"),)
    assert image.turns[0].parts == (ImageInput("/data/images/a.jpg"), "Colours?")
    # as released: the placeholder goes to the front of its message
    assert video.turns[0].parts == (VideoInput("/data/videos/b.mp4"), "What?")
    assert audio.media == (AudioInput("/abs/c.wav"),)
    assert (text.media, text.turns[1].text, text.id) == ((), "Yes.", "3")
    assert video.line > image.line > 1


def test_lines_and_messages(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    clip = {"type": "video", "path": "b.mp4", "start": 1.5, "sound": True}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [clip, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": "A dog."},
    ]
    rows = [{"id": "x", "messages": messages}, {"video": "c.mp4", "conversations": PAIR}]
    file.write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    chat, released = read_records(file, ReadOptions(tmp_path, sound=False))
    assert chat.media == (VideoInput(str(tmp_path / "b.mp4"), start=1.5, sound=True),)
    assert chat.turns[0].role == "system"
    assert released.media == (VideoInput(str(tmp_path / "c.mp4"), sound=False),)
    assert (chat.line, released.line) == (1, 3)
    assert [error.line for error in absent_files([chat, released])] == [1, 3]
    (tmp_path / "c.mp4").touch()
    assert [error.line for error in absent_files([chat, released])] == [1]


def test_opening_answer_is_dropped() -> None:
    record = record_from({"conversations": [{"from": "gpt", "value": "Hi"}, *pair("a", "b")]})
    assert [turn.text for turn in record.turns] == ["a", "b"]


def test_several_media_stay_in_place() -> None:
    record = record_from(
        {"image": ["a.png", "b.png"], "conversations": pair("First <image>\nthen <image>: alike?")}
    )
    assert record.turns[0].parts == (
        "First", ImageInput("a.png"), "then", ImageInput("b.png"), ": alike?",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "a record is a JSON object"),
        ({"id": 1}, "neither conversations nor messages"),
        ({"conversations": []}, "empty"),
        ({"conversations": PAIR}, "a <video> without video"),
        ({"image": "a.jpg", "conversations": PAIR}, "a <video> without video"),
        ({"video": "a.jpg", "conversations": PAIR}, "named as video but looks like image"),
        ({"audio": "a.png", "conversations": pair("<audio>")}, "looks like image"),
        ({"video": "a.mp4", "conversations": pair("no place")}, "1 more video than <video>"),
        ({"video": [], "conversations": PAIR}, "empty list"),
        ({"video": 3, "conversations": PAIR}, "no path"),
        ({"conversations": pair("a", "")}, "is empty"),
        ({"conversations": [*pair("a"), {"from": "human", "value": "b"}]}, "come in pairs"),
        ({"conversations": [pair("a")[0], pair("a")[0]]}, "not the assistant's"),
        ({"conversations": [{"from": "dog", "value": "a"}]}, "from is 'dog'"),
        ({"messages": [{"role": "user", "content": "see <image>"}]}, "content part of its own"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "smell"),
    ],
)
def test_wrong_records(value: Any, reason: str) -> None:
    with pytest.raises(RecordError, match=reason) as caught:
        record_from(value, file="f.json", line=7)
    assert str(caught.value).startswith("f.json:7: ")
    assert "\n" not in str(caught.value)


def test_every_wrong_record_is_named(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    good = {"conversations": pair("a")}
    file.write_text("\n".join(map(json.dumps, [good, {"id": 5}, good, {"conversations": PAIR}])))
    with pytest.raises(RecordsError) as caught:
        read_records(file)
    assert [error.line for error in caught.value.errors] == [2, 4]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 0, "holds no records"),
        ("[]", 0, "holds no records"),
        ('{"a": 1', 1, "is no JSON"),
        ('[\n{"conversations": 1},\n{"a": }]', 3, "is no JSON"),
        ("[1\n2]", 2, "a comma is missing"),
        ("[1,\n", 2, "does not end"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, line: int, reason: str) -> None:
    file = tmp_path / "records.json"
    file.write_text(text)
    with pytest.raises(RecordsError) as caught:
        read_records(file)
    last = caught.value.errors[-1]
    assert last.line == line
    assert reason in str(last)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="no such file"):
        read_records(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "video", "image", "conversations", "from", "value", "messages"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_record_or_a_record_error(value: Any) -> None:
    with contextlib.suppress(RecordError):
        record_from(value)


@given(st.lists(st.text(max_size=12).filter(str.strip), min_size=1, max_size=5), st.data())
def test_lists_and_lines_read_the_same(tmp_path_factory: Any, texts: list[str], data: Any) -> None:
    folder = tmp_path_factory.mktemp("records")
    rows = [{"conversations": pair("q", text)} for text in texts]
    indent = data.draw(st.sampled_from([None, 2]))
    (folder / "a.json").write_text(json.dumps(rows, indent=indent), encoding="utf-8")
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "a.jsonl").write_text(lines, encoding="utf-8")
    listed, lined = read_records(folder / "a.json"), read_records(folder / "a.jsonl")
    assert [r.turns for r in listed] == [r.turns for r in lined]
    assert [r.turns[1].text for r in lined] == texts
