"""What happens on the page: questions asked, clips shown."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from html import escape
from pathlib import Path
from typing import Any

from videollama2.serving.errors import ApiError, internal
from videollama2.serving.page.look import Look
from videollama2.serving.page.showing import panel, shown
from videollama2.serving.page.talk import Clip, Turn, Wishes, ask
from videollama2.serving.page.words import plain
from videollama2.serving.service import Service

log = logging.getLogger("videollama2.serving")

_LOOKS_KEPT = 64
EXAMPLES = (
    ("violin-and-drum.mp4", "Which of the things makes the sound?"),
    ("saxophone-and-octopus.mp4", "What do you see and hear?"),
    ("bell-and-drum.mp4", "How many things are shown?"),
)
_UNASKED = "What do you see and hear?"
_SILENCE = "(The model has no words for this. Ask in another way.)"
_WAITING = "… looking and listening"


class Desk:
    """What happens on the page: questions asked, clips shown. One for everybody who is there."""

    def __init__(self, gradio: Any, service: Service, folder: Path, examples: Path) -> None:
        self._gradio = gradio
        self._service = service
        self._folder = folder
        self._examples = examples
        self._looks: OrderedDict[tuple[object, ...], str] = OrderedDict()

    async def respond(
        self, value: Any, turns: tuple[Turn, ...], settings: tuple[Any, ...], session: str
    ) -> AsyncIterator[tuple[Any, Any, Any, Any]]:
        """What box, chat, panel and conversation become, again and again until the answer ends."""
        given: dict[str, Any] = value or {}
        text = str(given.get("text") or "").strip()
        files = [str(file) for file in given.get("files") or ()]
        update = self._gradio.update
        if not text and not files:
            yield update(), update(), update(), turns
            return
        clips = tuple(Clip.of(self._file(file)) for file in files)
        asked = (*turns, Turn(text or _UNASKED, clips))
        busy = update(value=None, submit_btn=False, stop_btn=True)
        answered = asked
        yield busy, self._messages(asked), update(), turns
        try:
            wishes = _wishes(settings)
            async for answered, looked in self._answers(asked, wishes, session):
                said = self._panel(answered, wishes) if looked else update()
                yield update(), self._messages(answered), said, answered
        except Exception as error:
            refusal = error if isinstance(error, ApiError) else internal()
            if refusal is not error:
                log.exception("a question of the page failed")
            kept = files if not refusal.code.startswith("media_") else []
            ready = update(value={"text": text, "files": kept}, submit_btn=True, stop_btn=False)
            refused = [_as_names(asked[-1]), _bubble(f"⚠ {plain(refusal)}")]
            yield ready, [*self._messages(turns, ended=True), *refused], update(), turns
            return
        ready = update(submit_btn=True, stop_btn=False)
        yield ready, self._messages(answered, ended=True), update(), answered

    async def _answers(
        self, turns: tuple[Turn, ...], wishes: Wishes, session: str
    ) -> AsyncIterator[tuple[tuple[Turn, ...], bool]]:
        """The conversation with more and more of its last answer; whether a look has come."""
        clips = [clip for turn in turns for clip in turn.clips]
        unseen = [n for n, clip in enumerate(clips) if _seen_as(clip, wishes) not in self._looks]
        number = 0
        answer = ""
        yield turns, not unseen
        key = self._service.settings.api_key
        async for event in ask(self._service, turns, wishes, key or session, unseen):
            if isinstance(event, Look):
                clip = clips[unseen[number]]
                number += 1
                self._keep(clip, wishes, shown(event, clip.path.name, wishes.start or 0.0))
            else:
                answer += event.text
            turns = (*turns[:-1], Turn(turns[-1].question, turns[-1].clips, answer))
            yield turns, isinstance(event, Look)

    def _file(self, name: str) -> Path:
        """A file of this page's.

        Raises:
            ApiError: it lies elsewhere.
        """
        file = Path(name).resolve()
        if not any(file.is_relative_to(root) for root in (self._folder, self._examples)):
            raise ApiError(400, "this file lies elsewhere", code="media_not_found")
        return file

    def _keep(self, clip: Clip, wishes: Wishes, look: str) -> None:
        self._looks[_seen_as(clip, wishes)] = look
        while len(self._looks) > _LOOKS_KEPT:
            self._looks.popitem(last=False)

    def _panel(self, turns: tuple[Turn, ...], wishes: Wishes) -> str:
        clips = dict.fromkeys(clip for turn in turns for clip in turn.clips)
        found = (self._looks.get(_seen_as(clip, wishes)) for clip in clips)
        return panel([look for look in found if look is not None])

    def _messages(self, turns: tuple[Turn, ...], ended: bool = False) -> list[dict[str, Any]]:
        """What the chat shows; `ended` says that the last answer is whole."""
        messages: list[dict[str, Any]] = []
        for number, turn in enumerate(turns, 1):
            media = [{"path": str(clip.path)} for clip in turn.clips]
            content = [*media, escape(turn.question, quote=False)]
            messages.append({"role": "user", "content": content})
            over = ended or number < len(turns)
            messages.append(_bubble(turn.answer or (_SILENCE if over else _WAITING)))
        return messages

    def example(self, number: int) -> dict[str, Any]:
        """What an example puts into the box."""
        file, question = EXAMPLES[number]
        return {"text": question, "files": [str(self._examples / file)]}


def _wishes(values: tuple[Any, ...]) -> Wishes:
    sound, frames, start, end, temperature, seed, longest = values
    return Wishes(
        sound=bool(sound),
        frames=int(frames or 0),
        start=float(start) if start else None,
        end=float(end) if end else None,
        temperature=float(temperature or 0.0),
        seed=int(seed) if seed else None,
        longest=int(longest or 1),
    )


def _as_names(turn: Turn) -> dict[str, Any]:
    """A question whose files cannot be shown: their names stand for them."""
    lines = [*(clip.path.name for clip in turn.clips), turn.question]
    return {"role": "user", "content": escape("\n".join(lines), quote=False)}


def _bubble(text: str) -> dict[str, Any]:
    """An answer. Its text is no HTML, whatever it looks like."""
    return {"role": "assistant", "content": escape(text, quote=False)}


def _seen_as(clip: Clip, wishes: Wishes) -> tuple[object, ...]:
    return (clip.path, *wishes.of_clips)
