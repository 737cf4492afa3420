"""Content parts -> media: counted and sized, found, looked up, then read where that is safe."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from videollama2.engine import Medium
from videollama2.media.errors import MediaError
from videollama2.media.source import Source, open_source
from videollama2.media_cache import Key, MediaCache
from videollama2.processing.parts import AudioInput, ImageInput, LoadedMedia, Part, VideoInput
from videollama2.reading.task import ReadTask, SoundWindows
from videollama2.serving.admission import Room
from videollama2.serving.errors import ApiError, media_refused
from videollama2.serving.metrics import Metrics
from videollama2.serving.protocol import (
    AudioPart,
    ImagePart,
    InputAudioPart,
    MediaPart,
    VideoPart,
)
from videollama2.serving.readers import Readers
from videollama2.serving.settings import ANY_HOST, MediaRules, ServerSettings

_FETCHERS = 8


@dataclass(frozen=True, eq=False)
class Unencoded:
    """A medium that was read, to be encoded and then kept under `key`."""

    loaded: LoadedMedia
    key: Key


class Intake:
    """Takes in the media of requests."""

    def __init__(
        self, settings: ServerSettings, readers: Readers, cache: MediaCache, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._readers = readers
        self._cache = cache
        self._metrics = metrics
        self._room = Room(settings.max_read_bytes)
        self._fetchers = ThreadPoolExecutor(_FETCHERS, thread_name_prefix="fetch")

    def room_for(self, parts: Sequence[tuple[str, MediaPart]]) -> AbstractAsyncContextManager[None]:
        """Memory for the media of a request until they are encoded.

        Raises:
            ApiError: there are too many, or one is refused for what it is called.
        """
        most = self._settings.media.max_items
        if len(parts) > most:
            raise ApiError(
                400,
                f"{len(parts)} media are over this server's limit of {most} a request",
                code="too_many_media",
                param=parts[most][0],
            )
        for place, part in parts:
            check_source(part, place, self._settings.media)
        return self._room.take(sum(self._readers.most_bytes(part) for _, part in parts))

    async def take_in(
        self, parts: Sequence[tuple[str, MediaPart]], caller: str
    ) -> list[Medium | Unencoded]:
        """The media at their places in the body, read or found encoded.

        `caller` keeps the media of one API key apart where that is wanted.

        Raises:
            ApiError: one cannot be read; none is then taken.
        """
        return [await self._take_one(place, part, caller) for place, part in parts]

    async def look(self, place: str, part: MediaPart) -> LoadedMedia:
        """A medium as the encoders get it, to be shown.

        Raises:
            ApiError: as `take_in`.
        """
        check_source(part, place, self._settings.media)
        source = await self._open(place, part)
        found = await self._read(place, ReadTask(_input(part, source, self._settings)))
        if not isinstance(found, LoadedMedia):
            raise TypeError("a medium was asked for and something else was read")
        return found

    async def windows(self, place: str, part: MediaPart, window_s: float) -> SoundWindows:
        """The sound of a part in windows.

        Raises:
            ApiError: as `take_in`.
        """
        check_source(part, place, self._settings.media)
        source = await self._open(place, part)
        found = await self._read(place, ReadTask(_input(part, source, self._settings), window_s))
        if not isinstance(found, SoundWindows):
            raise TypeError("sound was asked for and something else was read")
        return found

    def close(self) -> None:
        """Fetch nothing more."""
        self._fetchers.shutdown(wait=False, cancel_futures=True)

    async def _take_one(self, place: str, part: MediaPart, caller: str) -> Medium | Unencoded:
        source = await self._open(place, part)
        what = _input(part, source, self._settings)
        digest = await asyncio.to_thread(_digest, source)
        how = repr(replace(what, source=None))
        key = (digest, type(what).__name__, how, caller if self._settings.cache_per_key else "")
        kept = self._cache.get(key)
        if kept is not None:
            self._metrics.cache_hits.inc()
            return _named(kept, place)
        self._metrics.cache_misses.inc()
        loaded = await self._read(place, ReadTask(what))
        if not isinstance(loaded, LoadedMedia):
            raise TypeError("a medium was asked for and something else was read")
        return Unencoded(loaded, key)

    async def _open(self, place: str, part: MediaPart) -> Source:
        loop = asyncio.get_running_loop()
        address = address_of(part)
        remote = address[:8].lower().startswith(("http://", "https://"))
        pool = self._fetchers if remote else None  # slow hosts keep nobody else waiting
        try:
            return await loop.run_in_executor(pool, find, address, place, self._settings.media)
        except MediaError as error:
            raise self._refused(error, place) from error

    async def _read(self, place: str, task: ReadTask) -> LoadedMedia | SoundWindows:
        try:
            return await self._readers.read(task)
        except MediaError as error:
            raise self._refused(error, place) from error
        except ValueError as error:  # such as sound asked of a model without ears
            raise ApiError(
                400, f"{place}: it cannot be read so", code="media_unsupported"
            ) from error

    def _refused(self, error: MediaError, place: str) -> ApiError:
        refusal = media_refused(error, place)
        self._metrics.media_refused.labels(refusal.code).inc()
        return refusal


def address_of(part: MediaPart) -> str:
    """Where a part's bytes are."""
    if isinstance(part, ImagePart):
        return part.image_url.url
    if isinstance(part, VideoPart):
        return part.video_url.url
    if isinstance(part, AudioPart):
        return part.audio_url.url
    sound = part.input_audio
    return f"data:audio/{sound.format};base64,{sound.data}"


def check_source(part: MediaPart, place: str, rules: MediaRules) -> None:
    """Refuse what needs no reading to be refused.

    Raises:
        ApiError: an address that is not allowed, too many frames, or a medium that is too large.
    """
    if isinstance(part, VideoPart) and (part.num_frames or 0) > rules.max_frames:
        raise ApiError(
            400,
            f"{place}: {part.num_frames} frames are over the limit of {rules.max_frames}",
            code="too_many_frames",
            param=place,
        )
    address = address_of(part)
    scheme = address.partition(":")[0].lower() if ":" in address[:16] else ""
    if scheme == "data":
        if len(address) * 3 // 4 > rules.limits.max_memory_bytes * 1.01:
            raise ApiError(
                413, f"{place}: it is larger than this server reads", code="media_too_large",
                param=place,
            )  # fmt: skip
        return
    if scheme in ("http", "https"):
        allowed = bool(rules.hosts)
        wanted = "this server fetches no addresses: send the medium as a data: URI"
    else:
        allowed = rules.local_root is not None and scheme in ("", "file")
        wanted = "it is neither a data: URI nor an address that this server reads"
    if not allowed:
        raise ApiError(400, f"{place}: {wanted}", code="media_source_refused", param=place)


def find(address: str, place: str, rules: MediaRules) -> Source:
    """The bytes or the file of an address that may be read, named after its place in the body.

    Raises:
        MediaError: it cannot be had.
        ApiError: a file outside of the folder for such.
    """
    if address[:5].lower() in ("http:", "https"):
        hosts = None if ANY_HOST in rules.hosts else rules.hosts
        source = open_source(address, limits=replace(rules.limits, allowed_hosts=hosts))
    elif address[:5].lower() == "data:":
        source = open_source(address, limits=rules.limits)
    else:
        file = _below(address, place, rules.local_root)
        source = open_source(file, limits=replace(rules.limits, allow_files=True))
    return replace(source, name=place)


def _below(address: str, place: str, root: Path | None) -> Path:
    """A file under `root`, links followed; its being there is told to nobody who may not see it."""
    refused = ApiError(
        400, f"{place}: there is no such file to be read", code="media_not_found", param=place
    )
    if root is None or "\0" in address:
        raise refused
    try:
        text = address
        if address[:5].lower() == "file:":
            parts = urlsplit(address)
            if parts.netloc not in ("", "localhost"):
                raise refused
            text = unquote(parts.path)
        inside = root.resolve(strict=True)
        file = (inside / text).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise refused from error
    if not file.is_relative_to(inside) or not file.is_file():
        raise refused
    return file


def _input(part: MediaPart, source: Source, settings: ServerSettings) -> Part:
    if isinstance(part, ImagePart):
        return ImageInput(source)
    if isinstance(part, (AudioPart, InputAudioPart)):
        return AudioInput(source, part.start, part.end)
    num_frames = part.num_frames or settings.num_frames
    return VideoInput(source, part.start, part.end, num_frames, part.sound)


def _named(medium: Medium, place: str) -> Medium:
    """The medium under its name in this request; elsewhere it had another."""
    report = replace(medium.report, path=place)
    return replace(medium, loaded=replace(medium.loaded, report=report))


def _digest(source: Source) -> str:
    """SHA-256 of the bytes."""
    if source.data is not None:
        return hashlib.sha256(source.data).hexdigest()
    with open(os.fspath(source.path or ""), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
