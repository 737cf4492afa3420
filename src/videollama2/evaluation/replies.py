"""What was answered to each question, kept in files that only grow: a run resumes to the sample."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from videollama2.evaluation.errors import EvaluationError


@dataclass(frozen=True)
class Failure:
    """Why a question has no answer: its medium is "missing" or "unreadable", or it was "refused".

    A refused one cannot be asked of this model or server, whatever is tried (too long, no ears).
    """

    kind: Literal["missing", "unreadable", "refused"]
    reason: str


@dataclass(frozen=True)
class Reply:
    """The answers to one question.

    `prompts` are as they were asked, subtitles and all; `answers` one each, none where there is a
    `failure`. `media`: what was taken in of each medium. `timings_ms`, `prompt_tokens` and
    `generated_tokens` are sums over the prompts.
    """

    id: str
    prompts: tuple[str, ...]
    answers: tuple[str, ...] = ()
    failure: Failure | None = None
    media: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict[str, float])
    prompt_tokens: int = 0
    generated_tokens: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As a line of JSON holds it."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Reply:
        """From such a line.

        Raises:
            KeyError: it lacks a field.
            TypeError: it has another form.
        """
        failure = values["failure"]
        return cls(
            id=values["id"],
            prompts=tuple(values["prompts"]),
            answers=tuple(values["answers"]),
            failure=None if failure is None else Failure(**failure),
            media=tuple(values["media"]),
            notes=tuple(values["notes"]),
            timings_ms=values["timings_ms"],
            prompt_tokens=values["prompt_tokens"],
            generated_tokens=values["generated_tokens"],
        )


def json_line(value: Mapping[str, Any]) -> str:
    """One line of JSON, with its end; no character of it ends a line elsewhere."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    for mark in ("\u2028", "\u2029", "\x85"):
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    # A lone half of a surrogate pair, as a broken decoder gives, is no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


class GrowingFile:
    """A JSON Lines file to append to, safe against being killed between any two bytes.

    A last line that was not finished is dropped when the file is opened again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _drop_unfinished(path)

    def append(self, values: Sequence[Mapping[str, Any]]) -> None:
        """Write these lines in one go, on disk when this returns."""
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write("".join(json_line(value) for value in values))
            file.flush()
            os.fsync(file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a growing file; an unfinished last one is left out.

    Raises:
        EvaluationError: another line is no JSON object.
    """
    if not path.is_file():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            value: object = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise EvaluationError(
                path, f"line {number} is damaged", "Delete that line: its question is asked again"
            )
        found.append(cast(dict[str, Any], value))
    return found


def _drop_unfinished(path: Path) -> None:
    with path.open("r+b") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def replies_file(folder: Path, rank: int) -> Path:
    """Where one process keeps its replies."""
    return folder / f"replies-{rank}.jsonl"


def read_replies(folder: Path) -> dict[str, Reply]:
    """Every reply of every process so far, by question; the first of each.

    Raises:
        EvaluationError: a file is damaged.
    """
    found: dict[str, Reply] = {}
    for path in sorted(folder.glob("replies-*.jsonl")):
        for values in read_lines(path):
            try:
                reply = Reply.of(values)
            except (KeyError, TypeError):
                raise EvaluationError(
                    path, f"a line of another form: {values}", "Choose another --out"
                ) from None
            found.setdefault(reply.id, reply)
    return found


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8", newline="\n")
    os.replace(beside, path)
