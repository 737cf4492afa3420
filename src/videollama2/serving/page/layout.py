"""What the page is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from html import escape
from pathlib import Path
from typing import Any

from videollama2.serving.page.cameras import BUTTONS, cameras, film
from videollama2.serving.page.desk import EXAMPLES, Desk
from videollama2.serving.page.showing import panel
from videollama2.serving.service import Service

STYLE = Path(__file__).with_name("style.css")
KEPT_S = 3600
_DELETE_EVERY_S = 60
_FILE_TYPES = ["video", "audio", "image", ".mkv", ".m4v", ".weba", ".opus", ".m4a", ".flac", ".3gp"]
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
        body_text_color_subdued="#5b6b82",
        body_text_color_subdued_dark="#9fb0c6",
        block_border_width="0px",
        block_shadow="none",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#115e59",
        button_primary_text_color="white",
    )


def build(gradio: Any, service: Service, folder: Path, examples: Path) -> Any:
    """The page's components and what they do."""
    desk = Desk(gradio, service, folder, examples)
    cards = [
        {**desk.example(number), "display_text": question}
        for number, (_, question) in enumerate(EXAMPLES)
    ]
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
                opened = cameras(gradio)
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
                    buttons = [
                        gradio.Button(name, size="sm", elem_id=elem_id)
                        for name, elem_id in (*BUTTONS, ("New conversation", "anew"))
                    ]
            with gradio.Column(scale=4, min_width=300, elem_id="seen"):
                gradio.Markdown("<h2>What the model sees and hears</h2>", elem_id="seen-title")
                looks = gradio.Markdown(panel([]), elem_id="looks")
                settings = _settings(gradio)
        _behave(
            gradio, desk, turns=turns, chat=chat, box=box, buttons=buttons, cameras=opened,
            looks=looks, settings=settings,
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


def _behave(
    gradio: Any,
    desk: Desk,
    *,
    turns: Any,
    chat: Any,
    box: Any,
    buttons: list[Any],
    cameras: list[tuple[Any, Any]],
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
    record, snap, anew = buttons
    anew.click(begin, None, outputs, cancels=asking, **private)
    film(gradio, [record, snap], cameras, box, private)
