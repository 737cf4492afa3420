"""A conversation on the page, asked by the road that every other client takes."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import mimetypes
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.serving.completions import Completion, laid_out
from videollama2.serving.errors import ApiError
from videollama2.serving.page.look import Look, look_at
from videollama2.serving.protocol import ChatCompletionRequest, MediaPart, parse
from videollama2.serving.service import Service
from videollama2.serving.worker import Wrote

log = logging.getLogger("videollama2.serving")

# Of what browsers and telephones record; the rest is known by its name's ending.
_MORE_TYPES = {
    ".mkv": "video/x-matroska",
    ".m4v": "video/mp4",
    ".ogv": "video/ogg",
    ".3gp": "video/3gpp",
    ".ts": "video/mp2t",
    ".weba": "audio/webm",
    ".opus": "audio/ogg",
    ".oga": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".webp": "image/webp",
}


@dataclass(frozen=True)
class Clip:
    """A file that lies in the page's folder; `kind` is "video", "image" or "audio"."""

    path: Path
    kind: str

    @classmethod
    def of(cls, path: Path) -> Clip:
        """A file by its name's ending; what it really holds is found out when it is read."""
        kind = media_type(path).partition("/")[0]
        return cls(path, kind if kind in ("image", "audio") else "video")


@dataclass(frozen=True)
class Turn:
    """A question with the clips that came with it, and its answer so far."""

    question: str
    clips: tuple[Clip, ...] = ()
    answer: str = ""


@dataclass(frozen=True)
class Wishes:
    """The settings of the page. `frames` 0 takes as many as the model was trained with."""

    sound: bool = True
    frames: int = 0
    start: float | None = None
    end: float | None = None
    temperature: float = 0.0
    seed: int | None = None
    longest: int = 256

    @property
    def of_clips(self) -> tuple[object, ...]:
        """What changes how a clip is taken in."""
        return (self.sound, self.frames, self.start, self.end)


def media_type(path: Path) -> str:
    """Such as "video/mp4", by the name's ending."""
    ending = path.suffix.lower()
    found = _MORE_TYPES.get(ending) or mimetypes.guess_type(f"clip{ending}")[0]
    return found or "application/octet-stream"


async def ask(
    service: Service, turns: Sequence[Turn], wishes: Wishes, caller: str, unseen: Sequence[int]
) -> AsyncIterator[Wrote | Look]:
    """The answer to the last turn in pieces, and looks at the clips whose numbers are `unseen`.

    Admitted, limited, read and timed as a request to `/v1/chat/completions` is.

    Raises:
        ApiError: it is refused, or cannot be answered.
    """
    request_id = secrets.token_hex(12)
    began = time.monotonic()
    ticket = service.admission.enter()
    status = 499  # nobody waited for the end
    looking: asyncio.Task[list[Look]] | None = None
    try:
        ticket.hold(_size(turns))
        request = await asyncio.to_thread(_request, turns, wishes)
        completion = Completion(service, request, request_id, caller)
        try:
            await completion.begin()
            media = laid_out(request)[1]
            looking = asyncio.create_task(_looks(service, [media[number] for number in unseen]))
            async for piece in completion.pieces():
                yield piece
            for look in await looking:
                yield look
        finally:
            completion.cancel()
            if looking is not None:
                looking.cancel()
        status = 200
    except ApiError as error:
        status = error.status
        raise
    finally:
        ticket.release()
        service.metrics.requests.labels("page", str(status)).inc()
        log.info("page %d %.0f ms %s", status, 1000 * (time.monotonic() - began), request_id)


async def _looks(service: Service, media: Sequence[tuple[str, MediaPart]]) -> list[Look]:
    """Looks at what can be looked at; the answer does not wait for what cannot."""
    looks: list[Look] = []
    for place, part in media:
        try:
            looks.append(await look_at(service, place, part))
        except ApiError as error:  # counted where it was refused
            log.warning("%s could not be shown: %s", place, error.code)
    return looks


def _size(turns: Sequence[Turn]) -> int:
    """Bytes of the body that these turns become, before any file is read."""
    try:
        files = sum(clip.path.stat().st_size for turn in turns for clip in turn.clips)
    except OSError as error:
        raise _gone() from error
    return 4 * files // 3 + sum(len(turn.question) + len(turn.answer) for turn in turns) + 1024


def _request(turns: Sequence[Turn], wishes: Wishes) -> ChatCompletionRequest:
    messages: list[dict[str, Any]] = []
    for turn in turns:
        parts = [_part(clip, wishes) for clip in turn.clips]
        content = [*parts, {"type": "text", "text": turn.question}]
        messages.append({"role": "user", "content": content})
        messages.append({"role": "assistant", "content": turn.answer})
    del messages[-1]  # the one that is asked for
    body = {
        "messages": messages,
        "temperature": wishes.temperature,
        "seed": wishes.seed,
        "max_completion_tokens": wishes.longest,
    }
    return parse(ChatCompletionRequest, json.dumps(body).encode())


def _part(clip: Clip, wishes: Wishes) -> dict[str, Any]:
    try:
        data = base64.b64encode(clip.path.read_bytes()).decode()
    except OSError as error:
        raise _gone() from error
    kind = f"{clip.kind}_url"
    part: dict[str, Any] = {
        "type": kind,
        kind: {"url": f"data:{media_type(clip.path)};base64,{data}"},
    }
    if clip.kind != "image":
        part |= {"start": wishes.start, "end": wishes.end}
    if clip.kind == "video":
        part |= {"num_frames": wishes.frames or None, "sound": None if wishes.sound else False}
    return part


def _gone() -> ApiError:
    return ApiError(400, "a file of this conversation is no longer here", code="media_gone")
