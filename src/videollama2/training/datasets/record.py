"""Records: what training reads, in the released conversation form (official data format)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

Kind = Literal["video", "image", "audio", "text"]
KINDS: tuple[Kind, ...] = ("video", "image", "audio", "text")
PLACEHOLDERS = ("<video>", "<image>", "<audio>")


@dataclass(frozen=True)
class Turn:
    """A question and its answer. `slots` fill the task's prompt: {"question": ...}, or nothing."""

    answer: str
    slots: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Record:
    """One record before its prompt is worded.

    `media` is relative to the root; `elsewhere` are other places where the file may lie.
    """

    id: str
    kind: Kind
    media: str
    turns: tuple[Turn, ...]
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A row that gave no record, and why. `fault`: it is malformed, not merely none of ours."""

    where: str
    reason: str
    fault: bool


def as_conversation(record: Record, media: str, questions: tuple[str, ...]) -> dict[str, Any]:
    """The released form: the placeholder opens the first question, on a line of its own."""
    conversations: list[dict[str, str]] = []
    for number, (question, turn) in enumerate(zip(questions, record.turns, strict=True)):
        mark = f"<{record.kind}>\n" if number == 0 and record.kind != "text" else ""
        conversations.append({"from": "human", "value": f"{mark}{question}"})
        conversations.append({"from": "gpt", "value": turn.answer})
    made: dict[str, Any] = {"id": record.id}
    if record.kind != "text":
        made[record.kind] = media
    return made | {"conversations": conversations}


def problem_of(made: Mapping[str, Any]) -> str | None:
    """What is wrong with a record in the released form, or None.

    Checked: an id; at most one medium, its path relative and inside the root; turns alternate from
    "human" to "gpt"; no value is empty; the medium's placeholder opens the first value and stands
    nowhere else.
    """
    media = [kind for kind in KINDS if kind != "text" and kind in made]
    if len(media) > 1:
        return f"more than one medium: {', '.join(media)}"
    if not isinstance(made.get("id"), str) or not made["id"]:
        return "no id"
    if media and (wrong := _path_problem(made[media[0]])):
        return wrong
    turns = made.get("conversations")
    if not isinstance(turns, list) or not turns:
        return "no conversations"
    return _turns_problem(cast(list[Any], turns), f"<{media[0]}>\n" if media else "")


def _path_problem(path: Any) -> str | None:
    if not isinstance(path, str) or not path:
        return "the media path is no text"
    if path[0] == "/" or ".." in path.split("/") or "\\" in path or path[1:3] == ":/":
        return "the media path is not inside the root"
    return None


def _turns_problem(turns: list[Any], mark: str) -> str | None:
    if len(turns) % 2:
        return "an odd number of turns"
    for number, turn in enumerate(turns):
        wanted = "gpt" if number % 2 else "human"
        if not isinstance(turn, dict):
            return "a turn is no object"
        fields = cast(dict[str, Any], turn)
        value = fields.get("value")
        if fields.get("from") != wanted:
            return "roles do not alternate from human to gpt"
        if not isinstance(value, str):
            return "a turn's value is no text"
        if number == 0:
            if not value.startswith(mark):
                return "the placeholder does not come first"
            value = value.removeprefix(mark)
        if not value.strip():
            return "an empty turn"
        if any(placeholder in value for placeholder in PLACEHOLDERS):
            return "a placeholder inside the text"
    return None
