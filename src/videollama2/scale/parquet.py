"""Tables of clips: paths, addresses or bytes in a column of a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from videollama2.media.source import SCHEME
from videollama2.scale.clips import Cell, Clip, shown
from videollama2.scale.errors import BulkError

PATHS = ("clip", "path", "video", "url", "file", "file_name")
BYTES = ("bytes", "video", "clip", "audio", "image", "mp4")


def library() -> Any:
    """pyarrow's Parquet module.

    Raises:
        BulkError: it is not installed.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise BulkError(
            "Parquet", "it needs pyarrow", "Run pip install 'videollama2[eval]'"
        ) from None
    untyped: Any = parquet
    return untyped


def parquet_clips(file: str, name: str) -> Iterator[Clip]:
    """A clip a row; a file that cannot be read is a clip with the problem."""
    parquet = library()
    try:
        table = parquet.ParquetFile(file)
        kinds = {field.name: str(field.type) for field in table.schema_arrow}
        column, in_bytes = _column(kinds)
        if column is None:
            wanted = f"no column of paths ({', '.join(PATHS)}) or of bytes ({', '.join(BYTES)})"
            yield Clip(name, file, problem=f"it has {wanted}, but {', '.join(kinds)}")
            return
        yield from _rows(table, file, name, column, in_bytes, kinds)
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these kinds
        yield Clip(name, file, problem=f"no Parquet that can be read ({_first_line(error)})")


def read_cell(file: str, cell: Cell) -> bytes:
    """The bytes of one cell.

    Raises:
        ValueError: there are none.
        OSError: the file cannot be read.
    """
    value: Any = _group(file, os.stat(file).st_mtime_ns, cell.group, cell.column)[cell.row].as_py()
    if isinstance(value, Mapping):  # as Hugging Face's tables hold media
        value = value["bytes"]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, bytes):
        raise ValueError("the cell holds no bytes")
    return value


@lru_cache(maxsize=2)  # rows of a group are asked for one after another
def _group(file: str, _changed: int, group: int, column: str) -> Any:
    return library().ParquetFile(file).read_row_group(group, columns=[column]).column(0)


def _column(kinds: Mapping[str, str]) -> tuple[str | None, bool]:
    for name in PATHS:
        if kinds.get(name) in ("string", "large_string", "string_view"):
            return name, False
    for name in BYTES:
        if "binary" in kinds.get(name, ""):  # bytes, or a struct of bytes and path
            return name, True
    return None, False


def _rows(
    table: Any, file: str, name: str, column: str, in_bytes: bool, kinds: Mapping[str, str]
) -> Iterator[Clip]:
    others = [one for one in ("id", "start", "end", "question") if one in kinds]
    done = 0
    for group in range(table.num_row_groups):
        columns = others if in_bytes else [column, *others]
        rows = table.metadata.row_group(group).num_rows
        values: list[dict[str, Any]] = [{} for _ in range(rows)]
        if columns:
            values = table.read_row_group(group, columns=columns).to_pylist()
        for row, value in enumerate(values):
            inside = Cell(group, row, column) if in_bytes else None
            yield _clip(file, f"{name}#{done + row}", value, column, inside)
        done += rows


def _clip(file: str, name: str, value: dict[str, Any], column: str, inside: Cell | None) -> Clip:
    path = file if inside is not None else value.get(column)
    if not path:
        return Clip(name, file, problem=f"its {column} is empty")
    if inside is None:
        name = shown(path)
        if not (SCHEME.match(path) or os.path.isabs(path)):
            path = os.path.join(os.path.dirname(file), path)
    times: list[float | None] = []
    for key in ("start", "end"):
        try:
            times.append(None if value.get(key) is None else float(value[key]))
        except (TypeError, ValueError):
            return Clip(name, path, problem=f"its {key} is no number of seconds")
    if value.get("id") is not None:
        name = str(value["id"])
    elif inside is None and times != [None, None]:
        name += f"#t={times[0] or 0:g}" + ("" if times[1] is None else f",{times[1]:g}")
    questions = (str(value["question"]),) if value.get("question") else ()
    return Clip(name, path, times[0], times[1], questions, inside)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
