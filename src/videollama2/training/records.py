"""Annotation files -> records: the released JSON form, the same as JSON Lines, chat messages.

Released form (official `train.py`): a list of
`{"id", "image" | "video" | "audio", "conversations": [{"from": "human" | "gpt", "value"}, ...]}`,
with `<image>`, `<video>` or `<audio>` in a human message. Besides what is released, a record may
name several media (a list under one key, or several keys), and a video `start`, `end` and `sound`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from videollama2.processing.chat import MEDIA_TOKENS, PLACEHOLDER
from videollama2.processing.parts import (
    AudioInput,
    ImageInput,
    LoadedMedia,
    VideoInput,
    kind_of,
    part_from_message,
)
from videollama2.training.errors import FormError, RecordError, RecordsError

Role = Literal["system", "user", "assistant"]
Medium = VideoInput | ImageInput | AudioInput

_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
_KINDS = ("image", "video", "audio")
_SUFFIXES = {
    "image": frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}),
    "video": frozenset({".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".flv"}),
    "audio": frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac"}),
}
# A picture as a video is a clip of one frame in name only; a film may be heard as a sound.
_REFUSED = {"image": ("video", "audio"), "video": ("image", "audio"), "audio": ("image",)}
_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")


@dataclass(frozen=True)
class Turn:
    """One message: its text and media in their order."""

    role: Role
    parts: tuple[str | Medium, ...]

    @property
    def text(self) -> str:
        """The text alone."""
        return "".join(part for part in self.parts if isinstance(part, str))


@dataclass(frozen=True)
class Record:
    """A conversation to learn from: an optional system turn, then user and assistant in turns.

    `file` and `line` say where it was read.
    """

    id: str
    turns: tuple[Turn, ...]
    file: str = ""
    line: int = 0

    @property
    def media(self) -> tuple[Medium, ...]:
        """All media in their order."""
        return tuple(p for turn in self.turns for p in turn.parts if not isinstance(p, str))

    def error(self, reason: str, kind: str = "malformed") -> RecordError:
        """`reason` as an error that says which record it is about."""
        return RecordError(self.file, self.line, f"record {self.id!r}: {reason}", kind)


@dataclass(frozen=True)
class ReadOptions:
    """How a file's media are taken: `folder` is where relative paths begin.

    `sound`: whether videos are heard that do not say it themselves (None: where there is sound).
    """

    folder: Path = Path()
    sound: bool | None = None


def read_records(path: str | Path, options: ReadOptions | None = None) -> tuple[Record, ...]:
    """Every record of a `.json` list or a JSON Lines file, in its order.

    Raises:
        RecordsError: the file is missing, empty or no JSON, or records in it are wrong; one line
            for each.
    """
    records: list[Record] = []
    errors: list[RecordError] = []
    for found in iterate_records(path, options):
        if isinstance(found, Record):
            records.append(found)
        else:
            errors.append(found)
    if errors:
        raise RecordsError(errors)
    return tuple(records)


def iterate_records(
    path: str | Path, options: ReadOptions | None = None
) -> Iterator[Record | RecordError]:
    """Every record of a file in its order, an error in the place of each that is wrong.

    A file that cannot be read, holds none, or is broken off gives one more error, as its last.
    """
    options = options or ReadOptions()
    empty = True
    for line, value in iterate_values(path):
        empty = False
        if isinstance(value, RecordError):
            yield value
            continue
        try:
            yield record_from(value, options, file=str(path), line=line)
        except RecordError as error:
            yield error
    if empty:
        yield RecordError(str(path), 0, "holds no records")


def absent_files(records: Iterable[Record]) -> list[RecordError]:
    """One error for each medium on this machine's disks that is not there."""
    return [
        record.error(f"{medium.source}: no such file", "missing")
        for record in records
        for medium in record.media
        if not _ADDRESS.match(str(medium.source)) and not Path(medium.source).exists()
    ]


def record_from(
    value: Any, options: ReadOptions | None = None, *, file: str = "", line: int = 0
) -> Record:
    """One record from its JSON value, in either form.

    Raises:
        RecordError: it is not as the module's head says.
    """
    options = options or ReadOptions()
    if not isinstance(value, dict):
        raise RecordError(file, line, f"a record is a JSON object, not {type(value).__name__}")
    fields = cast("dict[str, Any]", value)
    name = str(fields.get("id", line or "?"))
    try:
        if "conversations" in fields:
            turns = _released_turns(fields, options)
        elif "messages" in fields:
            turns = tuple(_chat_turn(message, options) for message in _list(fields, "messages"))
        else:
            raise ValueError("has neither conversations nor messages")
        _check_turns(turns)
    except (ValueError, TypeError) as error:
        kind = error.kind if isinstance(error, FormError) else "malformed"
        raise RecordError(file, line, f"record {name!r}: {error}", kind) from error
    return Record(name, turns, file, line)


# --- JSON ---


def iterate_values(path: str | Path) -> Iterator[tuple[int, Any]]:
    """(line, value) of each element of a JSON list, or of each line.

    An error is the value where one cannot be read; a list goes no further than that.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = str(getattr(error, "strerror", None) or "is no UTF-8 text").lower()
        yield 0, RecordError(str(path), 0, reason, "no such list")
        return
    if text.lstrip().startswith("["):
        try:
            yield from _list_elements(text, str(path))
        except RecordError as error:
            yield error.line, error
        return
    for line, row in enumerate(text.split("\n"), 1):
        if row.strip():
            yield line, _line_value(row, str(path), line)


def _line_value(row: str, name: str, line: int) -> Any:
    try:
        return json.loads(row)
    except (ValueError, RecursionError) as error:
        return RecordError(name, line, f"is no JSON: {_why(error)}", "no JSON")


def _why(error: ValueError | RecursionError) -> str:
    """In a few words; a number of more digits than Python reads is no `JSONDecodeError`."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return error.msg if isinstance(error, json.JSONDecodeError) else "a number is too long"


_SPACE = re.compile(r"\s*")


def _list_elements(text: str, name: str) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    at, line, counted = _skip(text, text.index("[") + 1), 1, 0
    while at < len(text) and text[at] != "]":
        line += text.count("\n", counted, at)
        counted = at
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            at_line = getattr(error, "lineno", line)
            raise RecordError(name, at_line, f"is no JSON: {_why(error)}", "no JSON") from error
        yield line, value
        at = _skip(text, end)
        if at < len(text) and text[at] == ",":
            at = _skip(text, at + 1)
        elif at < len(text) and text[at] != "]":
            line = text.count("\n", 0, at) + 1
            raise RecordError(name, line, "is no JSON: a comma is missing", "no JSON")
    if at >= len(text):
        line = text.count("\n") + 1
        raise RecordError(name, line, "is no JSON: the list does not end", "no JSON")


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _list(fields: Mapping[str, Any], key: str) -> list[Any]:
    value = fields[key]
    if not isinstance(value, list) or not value:
        raise ValueError(f"{key} is no list of messages, or an empty one")
    return cast("list[Any]", value)


# --- turns ---


def _released_turns(fields: dict[str, Any], options: ReadOptions) -> tuple[Turn, ...]:
    messages = _list(fields, "conversations")
    if _role(messages[0], "from") == "assistant":  # as released: an opening answer is dropped
        messages = messages[1:]
    waiting = _named_media(fields, options)
    turns: list[Turn] = []
    for message in messages:
        role, value = _role(message, "from"), message.get("value")
        if not isinstance(value, str):
            raise ValueError("a conversation's value is no text")
        turns.append(Turn(role, _parts(value, waiting)))
    for kind, media in waiting.items():
        if media:
            raise FormError(
                "medium without placeholder",
                f"{len(media)} more {kind} than {MEDIA_TOKENS[kind]} in its messages: "
                f"write one {MEDIA_TOKENS[kind]} for each",
            )
    return tuple(turns)


def _parts(text: str, waiting: dict[str, list[Medium]]) -> tuple[str | Medium, ...]:
    """A message's parts; as released, a single placeholder goes to the front."""
    found = list(PLACEHOLDER.finditer(text))
    media: list[Medium] = []
    for match in found:
        kind = match.group()[1:-1]
        if not waiting[kind]:
            raise FormError(
                "placeholder without medium", f"a {match.group()} without {kind} to stand for"
            )
        media.append(waiting[kind].pop(0))
    if not found:
        return (text,) if text else ()
    if len(found) == 1:
        rest = PLACEHOLDER.sub("", text).strip()
        return (*media, *([rest] if rest else []))
    parts: list[str | Medium] = []
    at = 0
    for match, medium in zip(found, media, strict=True):
        before = text[at : match.start()].strip()
        parts += [*([before] if before else []), medium]
        at = match.end()
    last = text[at:].strip()
    return (*parts, *([last] if last else []))


def _named_media(fields: dict[str, Any], options: ReadOptions) -> dict[str, list[Medium]]:
    media: dict[str, list[Medium]] = {kind: [] for kind in _KINDS}
    for kind in _KINDS:
        given = fields.get(kind)
        if given is None:
            continue
        sources = cast("list[Any]", given) if isinstance(given, list) else [given]
        if not sources:
            raise ValueError(f"{kind} is an empty list")
        timed = ("start", "end", "sound") if kind == "video" else ("start", "end")
        extra = {key: fields[key] for key in timed if key in fields and kind != "image"}
        media[kind] = [_medium({"type": kind, kind: s, **extra}, options) for s in sources]
    return media


def _chat_turn(message: Any, options: ReadOptions) -> Turn:
    role = _role(message, "role")
    content = message.get("content")
    if isinstance(content, str):
        return Turn(role, (_plain(content),) if content else ())
    if not isinstance(content, list):
        raise ValueError("a message's content is neither text nor a list of parts")
    parts: list[str | Medium] = []
    for block in cast("list[Any]", content):
        if isinstance(block, str):
            parts.append(_plain(block))
        elif not isinstance(block, dict):
            raise ValueError("a content part is neither text nor an object")
        elif cast("dict[str, Any]", block).get("type") == "text":
            parts.append(_plain(str(cast("dict[str, Any]", block).get("text", ""))))
        else:
            parts.append(_medium(cast("dict[str, Any]", block), options))
    return Turn(role, tuple(part for part in parts if part != ""))


def _plain(text: str) -> str:
    found = PLACEHOLDER.search(text)
    if found:
        raise FormError(
            "placeholder without medium",
            f"a text holds {found.group()}: in messages a medium is a content part of its own",
        )
    return text


def _medium(block: dict[str, Any], options: ReadOptions) -> Medium:
    part = part_from_message(block)
    if isinstance(part, LoadedMedia) or not isinstance(part.source, str) or not part.source:
        raise ValueError(f"a {kind_of(part)}'s source is no path or address")
    kind, suffix = kind_of(part), Path(part.source).suffix.lower()
    for other in _REFUSED[kind]:
        if suffix in _SUFFIXES[other]:
            raise FormError(
                "wrong kind of medium", f"{part.source} is named as {kind} but looks like {other}"
            )
    source = part.source
    if not _ADDRESS.match(source):
        source = str(options.folder / source)
    if isinstance(part, VideoInput):
        sound = options.sound if part.sound is None else part.sound
        return VideoInput(
            source, part.start, part.end, part.num_frames, sound, part.sampling, part.allow_partial
        )
    if isinstance(part, AudioInput):
        return AudioInput(source, part.start, part.end, part.sampling_rate, part.allow_partial)
    return ImageInput(source)


def _role(message: Any, key: str) -> Role:
    if not isinstance(message, dict):
        raise ValueError("a message is no object")
    said = cast("dict[str, Any]", message).get(key)
    if said not in _ROLES:
        raise ValueError(f"{key} is {said!r}; it is one of {', '.join(_ROLES)}")
    return _ROLES[str(said)]


def _check_turns(turns: tuple[Turn, ...]) -> None:
    spoken = turns[1:] if turns and turns[0].role == "system" else turns
    if not spoken or len(spoken) % 2:
        raise FormError(
            "odd turns",
            f"{len(spoken)} messages: questions and answers come in pairs, question first",
        )
    for index, turn in enumerate(spoken):
        wanted = "assistant" if index % 2 else "user"
        if turn.role != wanted:
            raise FormError(
                "odd turns", f"message {index + 1} is the {turn.role}'s, not the {wanted}'s"
            )
        if not turn.parts:
            raise ValueError(f"message {index + 1} is empty")
        if index % 2 and any(not isinstance(part, str) for part in turn.parts):
            raise ValueError(f"message {index + 1}, an answer, holds a medium")
        if index % 2 and not turn.text.strip():
            raise ValueError(f"message {index + 1}, an answer, is empty")
