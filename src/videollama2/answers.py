"""What is asked and what is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videollama2.generation.settings import SamplingSettings
    from videollama2.processing.parts import MediaReport


@dataclass(frozen=True)
class Request:
    """One question, about any media or none.

    `video`, `image`, `audio`: one medium of that kind, as a path, URL, `data:` URI, bytes, array
    or list of frames; `media` any number more, whose kind is found out. They stand before the
    question in this order. `start` and `end` (seconds), `num_frames` and `sound` hold for every
    clip among them. `sound`: None hears a clip's soundtrack if there is one and the model has ears,
    True insists on it, False leaves it out. `allow_partial` takes what a broken file still holds.
    `settings` None takes those of the call.
    """

    question: str
    video: Any = None
    image: Any = None
    audio: Any = None
    media: Sequence[Any] = ()
    sound: bool | None = None
    start: float | None = None
    end: float | None = None
    num_frames: int | None = None
    allow_partial: bool = False
    settings: SamplingSettings | None = None

    @classmethod
    def of(cls, value: Request | Mapping[str, Any] | str) -> Request:
        """A request from its fields, or from a question alone.

        Raises:
            ValueError: a field that does not exist, or no question.
        """
        if isinstance(value, Request):
            return value
        if isinstance(value, str):
            return cls(value)
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(value) - set(known))
        if unknown or "question" not in value:
            wrong = f"does not know {', '.join(unknown)}" if unknown else "has no question"
            raise ValueError(f"a request {wrong}: its fields are {', '.join(known)}")
        return cls(**value)


class Answer(str):
    """The answer's text, and what it took.

    `media`: a report for each medium (path, kind, duration_s, frames, sound_s, notes).
    `prompt_tokens` counts text and media, `reused_tokens` of them were kept from the turn before;
    `generated_tokens` is without the stop token. `finish_reason`: "stop", "length"
    (max_new_tokens reached) or "interrupted". `timings_ms`: load (the model, once), read, encode
    (vision and audio encoders), prefill, first_token (from the question on), decode, total (all
    but load).
    """

    media: tuple[MediaReport, ...]
    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int
    finish_reason: str
    timings_ms: dict[str, float]

    def __new__(
        cls,
        text: str,
        *,
        media: Sequence[MediaReport] = (),
        prompt_tokens: int = 0,
        reused_tokens: int = 0,
        generated_tokens: int = 0,
        finish_reason: str = "stop",
        timings_ms: Mapping[str, float] | None = None,
    ) -> Answer:
        """Text with its numbers; without them, as after a copy of a plain string, they are zero."""
        self = super().__new__(cls, text)
        self.media = tuple(media)
        self.prompt_tokens = prompt_tokens
        self.reused_tokens = reused_tokens
        self.generated_tokens = generated_tokens
        self.finish_reason = finish_reason
        self.timings_ms = dict(timings_ms or {})
        return self

    @property
    def text(self) -> str:
        """The answer as a plain string."""
        return str.__str__(self)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was unusual about the media, one sentence each, with the file's name."""
        return tuple(f"{report.path}: {note}" for report in self.media for note in report.notes)

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        """Copy and pickle with everything."""
        return (self.text,), dict(self.__dict__)
