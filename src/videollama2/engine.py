"""A model, its processor and its tokenizer together: media in, prompts out, answers written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from videollama2.answers import Answer, Request
from videollama2.generation.encode import encode_media
from videollama2.generation.prefix import PrefixCache
from videollama2.generation.prompt import Prompt
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.writing import Writer, Writing, Written
from videollama2.media.probe import probe
from videollama2.media.source import Source, open_source
from videollama2.media_cache import MediaCache, Medium, key_of, stripped
from videollama2.processing.parts import (
    AudioInput,
    ImageInput,
    LoadedMedia,
    MediaReport,
    Part,
    VideoInput,
)

__all__ = ["AnswerStream", "Engine", "Medium", "user_message"]

_LONGEST = "max_position_embeddings"


class Engine:
    """What `VideoLlama2` and its conversations have in common.

    `num_frames` None takes the model's own number of frames per clip. Encoded clips, and what the
    language model has read, are kept for the next question, each in at most `cache_bytes`.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        num_frames: int | None = None,
        load_ms: float = 0.0,
        cache_bytes: int = 2**29,
        compile_steps: str | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.num_frames = num_frames
        self.load_ms = load_ms
        self.writer = Writer(model, processor.tokenizer, compile_steps=compile_steps)
        self.media_cache = MediaCache(cache_bytes)
        self.prefix = PrefixCache(cache_bytes)

    def forget(self) -> None:
        """Give up what is kept of clips and conversations."""
        self.media_cache.clear()
        self.prefix.clear()

    def parts(self, request: Request) -> list[Part]:
        """The media of a request, the kind of each found out.

        Raises:
            MediaError: one cannot be opened, so that its kind is not known.
        """
        parts: list[Part] = []
        for kind, source in [
            ("video", request.video),
            ("image", request.image),
            ("audio", request.audio),
            *(("", source) for source in request.media),
        ]:
            if source is not None:
                parts.append(self._part(kind, source, request))
        return parts

    def _part(self, kind: str, source: Any, request: Request) -> Part:
        if isinstance(source, (VideoInput, ImageInput, AudioInput, LoadedMedia)):
            return source
        kind = kind or probe(source, limits=self.processor.limits).kind
        if kind == "image":
            return ImageInput(source)
        if kind == "audio":
            return AudioInput(
                source, request.start, request.end, allow_partial=request.allow_partial
            )
        return VideoInput(
            source,
            request.start,
            request.end,
            request.num_frames or self.num_frames,
            request.sound,
            allow_partial=request.allow_partial,
        )

    def take_in(self, parts: Sequence[Part]) -> list[Medium]:
        """Read and encode each medium once; what was taken in before, and is kept, not again.

        Raises:
            MediaError: one cannot be read.
            ValueError: sound was asked of a model without ears.
        """
        return [self._take_one(part) for part in parts]

    def _take_one(self, part: Part) -> Medium:
        began = time.perf_counter()
        part = self._opened(part)
        key = key_of(part)
        kept = None if key is None else self.media_cache.get(key)
        if kept is not None:
            return replace(kept, read_ms=1000 * (time.perf_counter() - began), encode_ms=0.0)
        loaded = self._loaded(part)
        medium = self.encoded(loaded, read_ms=1000 * (time.perf_counter() - began))
        if key is not None:
            self.media_cache.put(key, medium)
        return medium

    def _loaded(self, part: Part) -> LoadedMedia:
        """Pixels and filter bank are made where the model is."""
        if self.model.device.type == "cpu":
            return self.processor.load_media(part)
        return replace(self.processor.loader, device=self.model.device).load(part)

    def _opened(self, part: Part) -> Part:
        """A part whose bytes are at hand, so that its content can be told."""
        given: Any = None if isinstance(part, LoadedMedia) else part.source
        is_place = isinstance(given, (str, os.PathLike, bytes, Source))
        if isinstance(part, LoadedMedia) or not is_place:
            return part
        return replace(part, source=open_source(given, limits=self.processor.limits))

    def encoded(self, loaded: LoadedMedia, *, read_ms: float = 0.0) -> Medium:
        """A medium that was read, as tokens; pixels and filter bank are given up."""
        began = time.perf_counter()
        tokens = encode_media(self.model, loaded)
        shell = stripped(loaded, self.processor.counter.audio)
        return Medium(shell, tokens, read_ms, 1000 * (time.perf_counter() - began))

    def prompt(self, messages: Sequence[Mapping[str, Any]], media: Sequence[Medium]) -> Prompt:
        """A conversation whose media are `media`, in this order, as the model's input.

        Raises:
            ValueError: it is longer than the language model reads.
        """
        inputs = self.processor.apply_chat_template(
            list(messages), tokenize=True, return_dict=True, add_generation_prompt=True
        )
        ids: list[int] = inputs["input_ids"][0].tolist()
        longest: int | None = getattr(self.model.config.text_config, _LONGEST, None)
        if longest is not None and len(ids) > longest:
            raise ValueError(
                f"the conversation is {len(ids)} tokens long and this language model reads "
                f"{longest}: ask about fewer media, or take fewer frames (num_frames)"
            )
        return Prompt(tuple(ids), tuple(tokens for medium in media for tokens in medium.tokens))

    def stream(
        self,
        prompt: Prompt,
        media: Sequence[Medium],
        settings: SamplingSettings,
    ) -> AnswerStream:
        """Start one answer. `media` are those to report: the ones new to the conversation."""
        writing = self.writer.write([prompt], [settings], self.prefix)
        return AnswerStream(writing, media, self.load_ms)

    def write(
        self, prompts: Sequence[Prompt], settings: Sequence[SamplingSettings]
    ) -> list[Written]:
        """An answer to each prompt, all written together."""
        writing = self.writer.write(prompts, settings, self.prefix)
        for _ in writing:
            pass
        return writing.results()

    def answer(self, written: Written, media: Sequence[Medium]) -> Answer:
        """Text and numbers of one row of a batch as an `Answer`."""
        return _answer(written, media, self.load_ms)


class AnswerStream(Iterator[str]):
    """Iterate for the pieces of an answer as they are written; then `answer` is the whole.

    `close()` stops before the end; `answer` is then what there is.
    """

    def __init__(self, writing: Writing, media: Sequence[Medium], load_ms: float) -> None:
        self._writing = writing
        self._media = media
        self._load_ms = load_ms

    def __next__(self) -> str:
        return next(self._writing)[1]

    def close(self) -> None:
        """Stop writing."""
        self._writing.close()

    @property
    def media(self) -> tuple[MediaReport, ...]:
        """What was taken in, known before the first piece."""
        return tuple(medium.report for medium in self._media)

    @property
    def answer(self) -> Answer:
        """The answer so far, whole once iteration has ended."""
        return _answer(self._writing.results()[0], self._media, self._load_ms)


def user_message(question: str, media: Sequence[Medium]) -> dict[str, Any]:
    """One turn of the person: the media, then the question."""
    content = [medium.content for medium in media]
    return {"role": "user", "content": [*content, {"type": "text", "text": question}]}


def _answer(written: Written, media: Sequence[Medium], load_ms: float) -> Answer:
    read = sum(medium.read_ms for medium in media)
    encode = sum(medium.encode_ms for medium in media)
    timings = {
        "load": load_ms,
        "read": read,
        "encode": encode,
        "prefill": written.first_token_ms,
        "first_token": read + encode + written.first_token_ms,
        "decode": written.total_ms - written.first_token_ms,
        "total": read + encode + written.total_ms,
    }
    return Answer(
        written.text,
        media=[medium.report for medium in media],
        prompt_tokens=written.prompt_tokens,
        reused_tokens=written.reused_tokens,
        generated_tokens=len(written.token_ids),
        finish_reason=written.finish_reason,
        timings_ms={name: round(value, 3) for name, value in timings.items()},
    )
