"""What was answered to each question, kept in files that only grow: a run resumes to the sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from videollama2.evaluation.errors import EvaluationError
from videollama2.storage.lines import DamagedLineError, iterate_lines


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


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a growing file; an unfinished last one is left out.

    Raises:
        EvaluationError: another line is no JSON object.
    """
    try:
        return list(iterate_lines(path))
    except DamagedLineError as error:
        raise EvaluationError(
            path,
            f"line {error.number} is damaged",
            "Delete that line: its question is asked again",
        ) from None


def replies_file(folder: Path, rank: int) -> Path:
    """Where one process keeps its replies."""
    return folder / f"replies-{rank}.jsonl"


def read_replies(folder: Path) -> dict[str, Reply]:
    """Every reply of every process so far, by question: its first answer, else its last failure.

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
            known = found.get(reply.id)
            if known is None or known.failure is not None:
                found[reply.id] = reply
    return found
