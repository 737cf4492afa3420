"""Annotation files: what is wrong is named by file, place and field."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.reading import (
    Item,
    existing,
    find_media,
    json_items,
    json_line_items,
    json_members,
    read_json,
)

FILE = Path("a.json")
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["a", "b"]), values))
def test_any_value_is_taken_or_named(fields: dict[str, object]) -> None:
    item = Item(FILE, "7", fields)
    raised: list[AnnotationError] = []
    for read in (item.text, item.number, item.texts, item.item, item.items):
        try:
            read("a")
        except AnnotationError as error:
            raised.append(error)
    for error in raised:
        assert (error.where, error.field, error.file) == ("7", "a", "a.json")
        assert str(error).startswith("a.json[7]: field 'a' ")


def test_what_cannot_be_read_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AnnotationError) as caught:
        read_json(file)
    assert str(caught.value).count(str(file)) == 1


def test_values() -> None:
    item = Item(FILE, "0", {"t": " x ", "n": 3, "s": "2.5", "l": ["a", 1], "o": {"k": "v"}})
    assert (item.text("t"), item.text("n"), item.number("s")) == (" x ", "3", 2.5)
    assert item.texts("l") == ("a", "1")
    assert item.item("o").text("k") == "v"
    with pytest.raises(AnnotationError, match=r"a.json\[0.o\]: field 'z' is missing"):
        item.item("o").text("z")


@pytest.mark.parametrize(
    ("content", "read", "message"),
    [
        (b"{", json_items, "no JSON at line 1, column 2"),
        (b"{}", json_items, "holds no list"),
        (b"[1]", json_items, r"\[0\]: is no object"),
        (b"[]", json_members, "holds no object"),
        (b'{"k": 1}', json_members, r"\[k\]: is no object"),
        (b'{"a": 1}\n\n{\n', json_line_items, r"\[3\]: no JSON"),
        (b"\xff\xfe", read_json, "no UTF-8"),
    ],
)
def test_malformed_files(tmp_path: Path, content: bytes, read, message: str) -> None:
    file = tmp_path / "f.json"
    file.write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        read(file)


def test_byte_order_mark_and_places(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_bytes('\ufeff{"a": "ü"}\n\n{"a": 2}\n'.encode())
    assert [(one.where, one.text("a")) for one in json_line_items(file)] == [("1", "ü"), ("3", "2")]


def test_media_in_the_released_order(tmp_path: Path) -> None:
    assert find_media(tmp_path, "x") is None
    for ending in (".mkv", ".avi"):
        (tmp_path / f"x{ending}").write_bytes(b"")
    assert find_media(tmp_path, "x") == tmp_path / "x.avi"
    assert find_media(tmp_path / "none", "x") is None


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '[{"a": ' + "9" * 5000 + "}]"], ids=["deep", "long"]
)
def test_json_that_no_reader_takes(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(AnnotationError, match="no JSON"):
        read_json(file)
    with pytest.raises(AnnotationError, match="no JSON") as caught:
        json_line_items(file)
    assert caught.value.where == "1"


@pytest.mark.parametrize("value", ["x\ud800", 10**5000], ids=["half", "long"])
def test_text_that_cannot_be_written_is_named(value: object) -> None:
    item = Item(FILE, "7", {"a": value, "b": ["fine", value]})
    for read, name in ((item.text, "a"), (item.texts, "b")):
        with pytest.raises(AnnotationError, match="can be written") as caught:
            read(name)
        assert (caught.value.where, caught.value.field) == ("7", name)


@pytest.mark.parametrize(
    "name", ["a" * 5000, "a\0b", "", "x" * 254], ids=["long", "nul", "empty", "ending"]
)
def test_a_medium_that_no_file_can_be_is_missing(name: str, tmp_path: Path) -> None:
    assert find_media(tmp_path, name) is None
    assert existing(tmp_path / f"{name}.mp4") is None
