"""What the page is made of, and what happens on it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from html import escape
from pathlib import Path
from typing import Any

from videollama2.serving.errors import ApiError
from videollama2.serving.page.look import Look
from videollama2.serving.page.showing import panel, shown
from videollama2.serving.page.talk import Clip, Turn, Wishes, ask
from videollama2.serving.page.words import plain
from videollama2.serving.service import Service

STYLE = Path(__file__).with_name("style.css")
KEPT_S = 3600
_DELETE_EVERY_S = 60
_LOOKS_KEPT = 64
_FILE_TYPES = ["video", "audio", "image", ".mkv", ".m4v", ".weba", ".opus", ".m4a", ".flac", ".3gp"]
_EXAMPLES = (
    ("violin-and-drum.mp4", "Which of the things makes the sound?"),
    ("saxophone-and-octopus.mp4", "What do you see and hear?"),
    ("bell-and-drum.mp4", "How many things are shown?"),
)
_UNASKED = "What do you see and hear?"
_WELCOME = (
    "<div class='welcome'><h2>Show me a clip, and ask about it.</h2>"
    "<p>Drop a video, sound or picture below, record one, or begin with an example.</p></div>"
)


def THEME(gradio: Any) -> Any:  # noqa: N802  (a value that needs gradio to be made)
    """Calm colours, and the fonts that are there already."""
    system = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    return gradio.themes.Base(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        radius_size="lg",
        font=system,
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill="#f8fafc",
        body_background_fill_dark="#0b1220",
        block_border_width="0px",
        block_shadow="none",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#115e59",
        button_primary_text_color="white",
    )


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
        except ApiError as error:
            kept = files if not error.code.startswith("media_") else []
            ready = update(value={"text": text, "files": kept}, submit_btn=True, stop_btn=False)
            messages = [*self._messages(asked), _bubble(f"⚠ {plain(error)}")]
            yield ready, messages, update(), turns
            return
        yield update(submit_btn=True, stop_btn=False), update(), update(), answered

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

    def _messages(self, turns: tuple[Turn, ...]) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        for turn in turns:
            media = [{"path": str(clip.path)} for clip in turn.clips]
            content = [*media, escape(turn.question, quote=False)]
            messages.append({"role": "user", "content": content})
            if turn.answer:
                messages.append(_bubble(turn.answer))
        return messages

    def example(self, number: int) -> dict[str, Any]:
        """What an example puts into the box."""
        file, question = _EXAMPLES[number]
        return {"text": question, "files": [str(self._examples / file)]}


def build(gradio: Any, service: Service, folder: Path, examples: Path) -> Any:
    """The page's components and what they do."""
    desk = Desk(gradio, service, folder, examples)
    cards = [{**desk.example(number), "display_text": _EXAMPLES[number][1]} for number in range(3)]
    name = escape(service.settings.model_name)
    with gradio.Blocks(
        title="VideoLLaMA 2",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(_DELETE_EVERY_S, KEPT_S),
    ) as blocks:
        turns = gradio.State((), time_to_live=KEPT_S)
        gradio.Markdown(
            f"<header class='top'><h1>VideoLLaMA 2</h1><span>{name}</span></header>",
            elem_id="top",
        )
        with gradio.Row(elem_id="desk"):
            with gradio.Column(scale=5, min_width=300, elem_id="talk"):
                chat = gradio.Chatbot(
                    elem_id="chat",
                    show_label=False,
                    label="Conversation",
                    render_markdown=False,
                    sanitize_html=True,
                    allow_file_downloads=False,
                    feedback_options=None,
                    buttons=[],
                    placeholder=_WELCOME,
                    examples=cards,
                    height=None,
                )
                box = gradio.MultimodalTextbox(
                    elem_id="box",
                    show_label=False,
                    label="Question",
                    placeholder="Ask about a clip",
                    sources=["upload", "microphone"],
                    file_types=_FILE_TYPES,
                    file_count="multiple",
                    max_lines=6,
                    autofocus=False,
                )
                with gradio.Row(elem_id="more"):
                    record = gradio.Button("Record a clip", size="sm", elem_id="record")
                    anew = gradio.Button("New conversation", size="sm", elem_id="anew")
                with gradio.Column(visible=False, elem_id="camera") as studio:
                    camera = gradio.Video(
                        sources=["webcam"],
                        include_audio=True,
                        webcam_options=gradio.WebcamOptions(mirror=False),
                        show_label=False,
                        label="Camera",
                        buttons=[],
                    )
            with gradio.Column(scale=4, min_width=300, elem_id="seen"):
                gradio.Markdown("<h2>What the model sees and hears</h2>", elem_id="seen-title")
                looks = gradio.Markdown(panel([]), elem_id="looks")
                settings = _settings(gradio)
        _behave(
            gradio, desk, turns=turns, chat=chat, box=box, record=record, anew=anew,
            studio=studio, camera=camera, looks=looks, settings=settings,
        )  # fmt: skip
    waiting = 4 * service.settings.max_requests
    blocks.queue(default_concurrency_limit=service.settings.max_requests, max_size=waiting)
    return blocks


def _settings(gradio: Any) -> list[Any]:
    """In the order of `_wishes`."""
    with gradio.Accordion("Settings", open=False, elem_id="settings"):
        sound = gradio.Checkbox(True, label="Hear the soundtrack", elem_id="sound")
        frames = gradio.Slider(
            0, 64, 0, step=1, label="Frames per clip (0: as the model was trained)"
        )
        with gradio.Row():
            start = gradio.Number(0, label="From (s)", minimum=0, min_width=100)
            end = gradio.Number(0, label="To (s; 0: the end)", minimum=0, min_width=100)
        longest = gradio.Slider(
            1, 1024, 256, step=1, label="Longest answer (tokens)", elem_id="longest"
        )
        temperature = gradio.Slider(
            0, 2, 0, step=0.05, label="Temperature (0: always the likeliest word)"
        )
        seed = gradio.Number(0, label="Seed (0: another every time)", precision=0)
    return [sound, frames, start, end, temperature, seed, longest]


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


def _behave(
    gradio: Any,
    desk: Desk,
    *,
    turns: Any,
    chat: Any,
    box: Any,
    record: Any,
    anew: Any,
    studio: Any,
    camera: Any,
    looks: Any,
    settings: list[Any],
) -> None:
    """Tie what people do to what happens."""
    update = gradio.update
    outputs = [box, chat, looks, turns]
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    async def submit(request: Any, value: Any, said: Any, *values: Any) -> AsyncIterator[Any]:
        async for changes in desk.respond(value, said, values, request.session_hash or ""):
            yield changes

    async def pick(request: Any, event: Any, said: Any, *values: Any) -> AsyncIterator[Any]:
        example = desk.example(int(event.index))
        async for changes in desk.respond(example, said, values, request.session_hash or ""):
            yield changes

    def attach(clip: str | None, value: Any) -> tuple[Any, ...]:
        if clip is None:
            return update(), update(), update()
        given: dict[str, Any] = value or {}
        files: list[Any] = [*(given.get("files") or ()), clip]
        filled = {"text": given.get("text") or "", "files": files}
        return filled, update(value=None), update(visible=False)

    def begin() -> tuple[Any, ...]:
        nobody: list[Any] = []
        return update(value=None, submit_btn=True, stop_btn=False), nobody, panel([]), ()

    # gradio looks at annotations for what it passes on its own; at run time alone it is there.
    submit.__annotations__["request"] = gradio.Request
    pick.__annotations__ |= {"request": gradio.Request, "event": gradio.EventData}

    asking = [
        box.submit(submit, [box, turns, *settings], outputs, **private),
        chat.example_select(pick, [turns, *settings], outputs, **private),
    ]
    box.stop(
        lambda: update(submit_btn=True, stop_btn=False), None, [box], cancels=asking,
        queue=False, **private,
    )  # fmt: skip
    anew.click(begin, None, outputs, cancels=asking, **private)
    record.click(lambda: update(visible=True), None, [studio], **private)
    camera.change(attach, [camera, box], [box, camera, studio], **private)


def _bubble(text: str) -> dict[str, Any]:
    """An answer. Its text is no HTML, whatever it looks like."""
    return {"role": "assistant", "content": escape(text, quote=False)}


def _seen_as(clip: Clip, wishes: Wishes) -> tuple[object, ...]:
    return (clip.path, *wishes.of_clips)
