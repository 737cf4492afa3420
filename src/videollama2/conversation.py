"""Several questions about the same media: each clip is read and encoded once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from videollama2.answers import Answer, Request
from videollama2.engine import AnswerStream, Engine, Medium, user_message
from videollama2.generation.settings import SamplingSettings
from videollama2.processing.parts import MediaReport


class Conversation:
    """Questions and answers that know of each other.

    Media are added with a question or before it, at any time; their encoders run once. What the
    language model has read stays in its cache, so that a turn costs what is new in it. An answer
    broken off leaves the conversation as it was before its question.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._messages: list[dict[str, Any]] = []
        self._media: list[Medium] = []  # of the messages, in order
        self._waiting: list[Medium] = []  # added, not yet asked about

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The turns so far, in the form that chat templates take."""
        return list(self._messages)

    @property
    def media(self) -> tuple[MediaReport, ...]:
        """What was taken in of every medium so far."""
        return tuple(medium.report for medium in [*self._media, *self._waiting])

    def add(self, *media: Any, **options: Any) -> tuple[MediaReport, ...]:
        """Take in media for the next question; `options` are the fields of `Request`.

        Raises:
            MediaError: one cannot be read; none is then added.
            ValueError: an option that does not exist.
        """
        request = Request.of({"question": "", "media": media, **options})
        new = self._engine.take_in(self._engine.parts(request))
        self._waiting.extend(new)
        return tuple(medium.report for medium in new)

    def ask(self, question: str, **options: Any) -> Answer:
        """Ask and wait for the answer. `options`: media as in `add`, settings as in `stream`."""
        stream = self.stream(question, **options)
        for _ in stream:
            pass
        return stream.answer

    def stream(
        self,
        question: str,
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 0.9,
        seed: int | None = None,
        settings: SamplingSettings | None = None,
        **media: Any,
    ) -> ConversationStream:
        """Ask; iterate over the result for the answer's pieces, then take its `answer`.

        `settings` replaces the four before it. `media` are taken in as by `add`.

        Raises:
            MediaError, ValueError: as `add`.
        """
        settings = settings or SamplingSettings(max_new_tokens, temperature, top_p, seed=seed)
        if media:
            self.add(*media.pop("media", ()), **media)
        new = list(self._waiting)
        message = user_message(question, new)
        prompt = self._engine.prompt([*self._messages, message], [*self._media, *new])
        stream = self._engine.stream(prompt, new, settings)
        return ConversationStream(self, stream, message, new)

    def reset(self) -> None:
        """Forget every turn and every medium."""
        self._messages, self._media, self._waiting = [], [], []

    def record(self, message: dict[str, Any], answer: str, media: list[Medium]) -> None:
        """Keep a turn that has come to its end."""
        self._messages += [message, {"role": "assistant", "content": str(answer)}]
        self._media += media
        self._waiting = [medium for medium in self._waiting if medium not in media]


class ConversationStream(Iterator[str]):
    """As `AnswerStream`; the turn enters the conversation when its answer is whole."""

    def __init__(
        self,
        conversation: Conversation,
        stream: AnswerStream,
        message: dict[str, Any],
        media: list[Medium],
    ) -> None:
        self._conversation = conversation
        self._stream = stream
        self._turn = (message, media)
        self._recorded = False

    def __next__(self) -> str:
        try:
            return next(self._stream)
        except StopIteration:
            answer = self._stream.answer
            if not self._recorded and answer.finish_reason != "interrupted":
                self._recorded = True
                message, media = self._turn
                self._conversation.record(message, answer.text, media)
            raise

    def close(self) -> None:
        """Stop writing; the turn is not kept."""
        self._stream.close()

    @property
    def media(self) -> tuple[MediaReport, ...]:
        """What was taken in for this question."""
        return self._stream.media

    @property
    def answer(self) -> Answer:
        """The answer so far, whole once iteration has ended."""
        return self._stream.answer
