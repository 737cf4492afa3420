"""Answers of a model that is loaded here, in batches, each clip read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch

from videollama2.assistant import VideoLlama2
from videollama2.engine import Engine, Medium, user_message
from videollama2.evaluation.answering import Decoding, missing, prompts_of, refused, unreadable
from videollama2.evaluation.errors import AnnotationError, EvaluationError
from videollama2.evaluation.replies import Reply
from videollama2.evaluation.task import MediaFile, Question, Task
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.writing import Written
from videollama2.media.errors import MediaError
from videollama2.processing.parts import AudioInput, ImageInput, Part, VideoInput


@dataclass(frozen=True)
class _Asked:
    question: Question
    prompts: tuple[str, ...]
    inputs: tuple[Any, ...]
    media: tuple[Medium, ...]
    notes: tuple[str, ...]


class AnsweringEngine(Protocol):
    """What reads media, makes prompts and writes answers: our own `Engine`, or vLLM.

    `num_frames` None takes the model's own number of frames a clip.
    """

    num_frames: int | None

    def take_in(self, parts: Sequence[Part]) -> list[Medium]:
        """Read each medium once. Raises `MediaError`, `ValueError`."""
        ...

    def prompt(self, messages: Sequence[Mapping[str, Any]], media: Sequence[Medium]) -> Any:
        """A conversation as this engine's input. Raises `ValueError` where it is too long."""
        ...

    def write(self, prompts: Sequence[Any], settings: Sequence[SamplingSettings]) -> list[Written]:
        """An answer to each prompt."""
        ...

    def forget(self) -> None:
        """Give up what is kept of clips and conversations."""
        ...


class LocalModel:
    """A model loaded in some engine as an answerer; `config` is its `VideoLlama2Config`."""

    def __init__(self, name: str, config: Any, engine: AnsweringEngine) -> None:
        self.name = name
        self._config = config
        self._engine = engine
        self.num_frames = engine.num_frames or int(config.num_frames)

    @classmethod
    def of(cls, assistant: VideoLlama2, num_frames: int | None = None) -> LocalModel:
        """Our own engine. `num_frames` None takes the model's own."""
        engine = Engine(
            assistant.model,
            assistant.processor,
            num_frames=num_frames,
            compile_steps=assistant.compile_steps,
        )
        return cls(assistant.name, assistant.model.config, engine)

    def check(self, task: Task) -> None:
        """Say at once where this model cannot answer a benchmark.

        Raises:
            EvaluationError: the benchmark is of sounds and the model has no ears.
        """
        if task.modality == "audio" and self._config.audio_config is None:
            raise EvaluationError(
                self.name,
                f"{task.title} is about sounds and this model has no audio branch",
                "Choose a checkpoint with one, such as DAMO-NLP-SG/VideoLLaMA2.1-7B-AV",
            )

    def answer(self, questions: Sequence[Question], decoding: Decoding) -> list[Reply]:
        """A reply to each question; half a batch at a time where a GPU's memory does not hold it.

        Raises:
            torch.OutOfMemoryError: a single question does not fit.
        """
        try:
            return self._answer(questions, decoding)
        except torch.OutOfMemoryError:
            if len(questions) == 1:
                raise
        self._engine.forget()
        torch.cuda.empty_cache()
        half = len(questions) // 2
        return self.answer(questions[:half], decoding) + self.answer(questions[half:], decoding)

    def _answer(self, questions: Sequence[Question], decoding: Decoding) -> list[Reply]:
        prepared = [self._prepare(question) for question in questions]
        asked = [one for one in prepared if isinstance(one, _Asked)]
        written = self._write([one for row in asked for one in row.inputs], decoding)
        replies: list[Reply] = []
        for one in prepared:
            if isinstance(one, Reply):
                replies.append(one)
            else:
                mine, written = written[: len(one.inputs)], written[len(one.inputs) :]
                replies.append(_reply(one, mine))
        return replies

    def _write(self, prompts: Sequence[Any], decoding: Decoding) -> Sequence[Written]:
        if not prompts:
            return []
        settings = SamplingSettings(
            decoding.max_new_tokens, decoding.temperature, decoding.top_p, seed=decoding.seed
        )
        return self._engine.write(prompts, [settings] * len(prompts))

    def _prepare(self, question: Question) -> _Asked | Reply:
        absent = missing(question)
        if absent is not None:
            return absent
        try:
            prompts, notes = prompts_of(question, self.num_frames)
            media = self._engine.take_in([self._part(file) for file in question.media])
            inputs = [self._engine.prompt([user_message(text, media)], media) for text in prompts]
        except (MediaError, AnnotationError) as error:
            return unreadable(question, error)
        except EvaluationError:
            raise
        except ValueError as error:  # longer than the model reads, or a sound without ears
            return refused(question, str(error))
        return _Asked(question, prompts, tuple(inputs), tuple(media), tuple(notes))

    def _part(self, file: MediaFile) -> Part:
        if file.kind == "image":
            return ImageInput(file.path)
        if file.kind == "audio":
            return AudioInput(file.path, file.start, file.end)
        frames = self._engine.num_frames
        return VideoInput(file.path, file.start, file.end, frames, sound=file.sound)


def _reply(asked: _Asked, written: Sequence[Written]) -> Reply:
    read = sum(medium.read_ms for medium in asked.media)
    encode = sum(medium.encode_ms for medium in asked.media)
    total = sum(one.total_ms for one in written)
    return Reply(
        asked.question.id,
        asked.prompts,
        tuple(one.text for one in written),
        media=tuple(asdict(medium.report) for medium in asked.media),
        notes=asked.notes,
        timings_ms={
            "read": round(read, 1),
            "encode": round(encode, 1),
            "write": round(total, 1),
        },
        prompt_tokens=sum(one.prompt_tokens for one in written),
        generated_tokens=sum(len(one.token_ids) for one in written),
    )
