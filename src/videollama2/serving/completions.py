"""`/v1/chat/completions`: a body becomes a job, what the worker says becomes the answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from videollama2.generation.logprobs import TokenLogprobs
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.token_bytes import TokenBytes
from videollama2.processing.parts import MediaReport
from videollama2.serving.errors import ApiError
from videollama2.serving.length import check_length
from videollama2.serving.protocol import ChatCompletionRequest, MediaPart, TextPart
from videollama2.serving.service import Service
from videollama2.serving.worker import Event, Failed, Job, Started, Wrote


class Completion:
    """One request from its body to its answer. `caller` is the API key that came with it."""

    def __init__(
        self, service: Service, request: ChatCompletionRequest, request_id: str, caller: str
    ) -> None:
        self._service = service
        self._request = request
        self._caller = caller
        self._head = {
            "id": f"chatcmpl-{request_id}",
            "created": int(time.time()),
            "model": service.settings.model_name,
        }
        self._began = time.monotonic()
        self._deadline = asyncio.get_running_loop().time() + service.settings.deadline_s
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._job: Job | None = None
        self._known_bytes: TokenBytes | None = None

    async def begin(self) -> Started:
        """Take in the media and wait for the prompt to be read.

        Raises:
            ApiError: the request is refused, too slow, or cannot be answered.
        """
        request, service = self._request, self._service
        check_model(request.model, service)
        if request.n > service.settings.max_choices:
            most = service.settings.max_choices
            raise ApiError(400, f"n is over the limit of {most}", code="n_too_large", param="n")
        settings = sampling_of(request)
        intake = service.intake
        messages, parts = laid_out(request)
        async with self._in_time():
            await asyncio.to_thread(self._check_length)
            wanted = request.response_format
            grammar = None
            if wanted is not None and wanted.type != "text":
                grammar = await asyncio.to_thread(service.worker.schemas.grammar, wanted)
            async with intake.room_for(parts):
                media = await intake.take_in(parts, self._caller)
                loop = asyncio.get_running_loop()
                self._job = Job(
                    messages,
                    media,
                    settings,
                    request.max_completion_tokens or request.max_tokens,
                    request.n,
                    lambda event: _tell(loop, self._events, event),
                    grammar,
                    (request.top_logprobs or 0) if request.logprobs else None,
                )
                service.worker.submit(self._job)
                first = await self._next()
        if not isinstance(first, Started):
            raise TypeError(f"a job began with {first}")
        service.metrics.first_token_seconds.observe(time.monotonic() - self._began)
        return first

    def _check_length(self) -> None:
        assistant = self._service.assistant
        texts = [
            part.text
            for message in self._request.messages
            for part in message.content
            if isinstance(part, TextPart)
        ]
        longest = getattr(assistant.model.config.text_config, "max_position_embeddings", None)
        check_length(assistant.tokenizer, longest, texts)

    def cancel(self) -> None:
        """Nobody waits any more. Harmless after the end."""
        if self._job is not None:
            self._job.cancel()

    async def whole(self, started: Started) -> dict[str, Any]:
        """The answer in one piece.

        Raises:
            ApiError: it cannot be finished.
        """
        texts = [""] * self._request.n
        logprobs: list[list[TokenLogprobs]] = [[] for _ in texts]
        reasons = [""] * len(texts)
        tokens = 0
        async for piece in self.pieces():
            texts[piece.choice] += piece.text
            logprobs[piece.choice] += piece.logprobs
            if piece.finish_reason is not None:
                reasons[piece.choice] = piece.finish_reason
                tokens += piece.tokens
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": self._logprobs(logprobs[index]),
                "finish_reason": reasons[index],
            }
            for index, text in enumerate(texts)
        ]
        return {
            **self._head,
            "object": "chat.completion",
            "choices": choices,
            "usage": usage(started.prompt_tokens, tokens),
            "media": reports(started.media),
        }

    async def stream(self, started: Started) -> AsyncIterator[bytes]:
        """The answer in server-sent events; what goes wrong on the way is the last of them."""
        tokens = 0
        try:
            for index in range(self._request.n):
                media = reports(started.media) if index == 0 else None
                yield self._chunk(index, {"role": "assistant", "content": ""}, media=media)
            async for piece in self.pieces():
                delta = {"content": piece.text} if piece.text else {}
                yield self._chunk(piece.choice, delta, piece.logprobs, piece.finish_reason)
                tokens += piece.tokens if piece.finish_reason is not None else 0
            options = self._request.stream_options
            if options is not None and options.include_usage:
                yield self._event([], usage=usage(started.prompt_tokens, tokens))
        except ApiError as error:
            yield _data(error.body)
        finally:
            self.cancel()
        yield b"data: [DONE]\n\n"

    async def pieces(self) -> AsyncIterator[Wrote]:
        """Until every choice has ended.

        Raises:
            ApiError: the worker has failed, or the time is over.
        """
        left = self._request.n
        while left:
            if asyncio.get_running_loop().time() > self.deadline:
                raise self.too_late()  # also where the next piece is there: its reader is slow
            async with self._in_time():
                event = await self._next()
            if isinstance(event, Wrote):
                left -= event.finish_reason is not None
                yield event

    async def _next(self) -> Event:
        event = await self._events.get()
        if isinstance(event, Failed):
            raise event.error
        return event

    def _in_time(self) -> _InTime:
        return _InTime(self)

    def too_late(self) -> ApiError:
        """The refusal of a request whose time is over."""
        self.cancel()
        limit_s = self._service.settings.deadline_s
        return ApiError(504, f"there is no answer within {limit_s:g} s", code="deadline_exceeded")

    @property
    def deadline(self) -> float:
        """When the time is over, by the event loop's clock."""
        return self._deadline

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: tuple[TokenLogprobs, ...] = (),
        finish_reason: str | None = None,
        media: list[dict[str, Any]] | None = None,
    ) -> bytes:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": self._logprobs(logprobs) if logprobs else None,
            "finish_reason": finish_reason,
        }
        return self._event([choice], **({} if media is None else {"media": media}))

    def _event(self, choices: list[dict[str, Any]], **extra: Any) -> bytes:
        options = self._request.stream_options
        if options is not None and options.include_usage:
            extra = {"usage": None, **extra}
        return _data({**self._head, "object": "chat.completion.chunk", "choices": choices, **extra})

    def _logprobs(self, entries: list[TokenLogprobs] | tuple[TokenLogprobs, ...]) -> Any:
        if not self._request.logprobs:
            return None
        bytes_of = self._bytes_of()

        def one(token: int, logprob: float) -> dict[str, Any]:
            data = bytes_of(token)
            value = max(logprob, -9999.0)  # JSON has no infinity
            return {"token": data.decode(errors="replace"), "logprob": value, "bytes": list(data)}

        content = [
            {**one(entry.token, entry.logprob), "top_logprobs": [one(*pair) for pair in entry.top]}
            for entry in entries
        ]
        return {"content": content, "refusal": None}

    def _bytes_of(self) -> TokenBytes:
        if self._known_bytes is None:
            self._known_bytes = TokenBytes(self._service.assistant.tokenizer)
        return self._known_bytes


class _InTime:
    """What happens within this happens before the completion's deadline, or is refused."""

    def __init__(self, completion: Completion) -> None:
        self._completion = completion
        self._timeout = asyncio.timeout_at(completion.deadline)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        try:
            return await self._timeout.__aexit__(*error)
        except TimeoutError:
            raise self._completion.too_late() from None


def sampling_of(request: ChatCompletionRequest) -> SamplingSettings:
    """How answers are chosen; what a request does not say is greedy.

    Raises:
        ApiError: a setting makes no sense.
    """
    if request.top_logprobs and not request.logprobs:
        raise ApiError(
            400, "top_logprobs needs logprobs: true", code="invalid_body", param="top_logprobs"
        )
    return SamplingSettings(
        temperature=request.temperature or 0.0,
        top_p=1.0 if request.top_p is None else request.top_p,
        top_k=max(request.top_k or 0, 0),
        repetition_penalty=request.repetition_penalty or 1.0,
        seed=None if request.seed is None else request.seed % 2**63,
        stop_strings=request.stop,
    )


def laid_out(
    request: ChatCompletionRequest,
) -> tuple[list[dict[str, Any]], list[tuple[str, MediaPart]]]:
    """Messages as templates take them, a number for each medium, and the media at their places."""
    messages: list[dict[str, Any]] = []
    media: list[tuple[str, MediaPart]] = []
    for row, message in enumerate(request.messages):
        content: list[Any] = []
        for column, part in enumerate(message.content):
            if isinstance(part, TextPart):
                content.append({"type": "text", "text": part.text})
                continue
            content.append(len(media))
            media.append((f"messages[{row}].content[{column}]", part))
        role = "system" if message.role == "developer" else message.role
        messages.append({"role": role, "content": content})
    return messages, media


def check_model(name: str | None, service: Service) -> None:
    """Refuse a model that is not served.

    Raises:
        ApiError: 404.
    """
    if name not in (None, service.settings.model_name):
        raise ApiError(404, "there is no such model here", code="model_not_found", param="model")


def usage(prompt_tokens: int, answer_tokens: int) -> dict[str, int]:
    """Tokens read and written."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": answer_tokens,
        "total_tokens": prompt_tokens + answer_tokens,
    }


def reports(media: tuple[MediaReport, ...]) -> list[dict[str, Any]]:
    """What was taken in of each medium; `path` is its place in the request."""
    return [asdict(report) for report in media]


def _tell(loop: asyncio.AbstractEventLoop, events: asyncio.Queue[Event], event: Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(events.put_nowait, event)


def _data(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"
