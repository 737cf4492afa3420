"""Whoever answers, a model here or a server, and what both share: missing media, subtitles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.replies import Failure, Reply
from videollama2.evaluation.subtitles import subtitles_text
from videollama2.evaluation.task import Question
from videollama2.media.errors import MediaError


@dataclass(frozen=True)
class Decoding:
    """How answers are decoded: `temperature` 0 is greedy."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 0.9
    seed: int | None = 0


class Answerer(Protocol):
    """Answers questions, a batch at a time."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    @property
    def num_frames(self) -> int | None:
        """How many frames it takes of a clip."""
        ...

    def answer(self, questions: Sequence[Question], decoding: Decoding) -> list[Reply]:
        """A reply to each question, in order; what cannot be answered is a reply with its failure.

        Raises:
            ServerError: nothing can be answered any more (a server is down).
        """
        ...


def missing(question: Question) -> Reply | None:
    """The reply to a question whose media are not all there."""
    absent = [medium.wanted for medium in question.media if medium.path is None]
    if not absent:
        return None
    return Reply(question.id, question.prompts, failure=Failure("missing", ", ".join(absent)))


def unreadable(question: Question, error: MediaError | AnnotationError) -> Reply:
    """The reply to a question whose medium or subtitles cannot be read."""
    return Reply(question.id, question.prompts, failure=Failure("unreadable", str(error)))


def refused(question: Question, reason: str) -> Reply:
    """The reply to a question that this model or server does not take."""
    return Reply(question.id, question.prompts, failure=Failure("refused", reason))


def prompts_of(question: Question, num_frames: int | None) -> tuple[tuple[str, ...], list[str]]:
    """The prompts as they are asked, subtitles put before them, and what is worth a note.

    Raises:
        MediaError: subtitles are asked for and the video cannot be read.
        AnnotationError: the subtitles cannot be read.
    """
    if question.subtitles is None:
        return question.prompts, []
    if not question.subtitles.is_file():
        text, notes = "", ["no subtitles"]
    else:
        text, notes = subtitles_text(question.subtitles, question.media[0], num_frames or 8), []
    opening = f"This video's subtitles are listed below:\n{text}\n"
    return tuple(opening + prompt for prompt in question.prompts), notes
