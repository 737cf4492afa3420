"""CSV and JSON Lines as annotations: what is awkward is read, what is broken is named."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.reading import csv_items, json_line_items

FIELD = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=8)


@given(rows=st.lists(st.tuples(FIELD.filter(bool), FIELD), min_size=1, max_size=5))
def test_what_csv_writes_is_read(rows: list[tuple[str, str]], tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    text = io.StringIO()
    csv.writer(text).writerows([("name", "caption"), *rows])
    file = tmp_path_factory.mktemp("csv") / "a.csv"
    file.write_text(text.getvalue(), encoding="utf-8", newline="")
    items = csv_items(file, ("name", "caption"))
    read = [(item.values["name"], item.values["caption"]) for item in items]
    assert read == [(name.replace("\r\n", "\n"), text) for name, text in rows]


def test_broken_csv_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("\ufeffname,caption\na,b\n\nc\n")
    with pytest.raises(AnnotationError, match="1 fields of 2") as caught:
        csv_items(file, ("name",))
    assert caught.value.where == "4"
    file.write_text("nom,caption\na,b\n")
    with pytest.raises(AnnotationError, match="missing") as caught:
        csv_items(file, ("name",))
    assert caught.value.field == "name"
    file.write_text("")
    with pytest.raises(AnnotationError, match="missing"):
        csv_items(file, ("name",))


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"a": "one\u2028two\x85"}\r\n\n{"a": "b"}', encoding="utf-8", newline="")
    assert [item.values["a"] for item in json_line_items(file)] == ["one\u2028two\x85", "b"]
    assert [item.where for item in json_line_items(file)] == ["1", "3"]
