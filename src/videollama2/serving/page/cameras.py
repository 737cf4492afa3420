"""What people record or take a picture of on the page itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BUTTONS = (("Record a clip", "record"), ("Take a picture", "snap"))
_CLOSE = "Close the camera"
_NONE = -1


def cameras(gradio: Any) -> list[tuple[Any, Any]]:
    """For clips and for pictures: each with the column that hides it."""
    webcam: dict[str, Any] = {
        "sources": ["webcam"],
        "webcam_options": gradio.WebcamOptions(mirror=False),
        "show_label": False,
        "buttons": [],
    }
    with gradio.Column(visible=False, elem_id="camera") as studio:
        camera = gradio.Video(include_audio=True, label="Camera", **webcam)
    with gradio.Column(visible=False, elem_id="photo") as booth:
        photo = gradio.Image(type="filepath", format="jpeg", label="Camera", **webcam)
    return [(studio, camera), (booth, photo)]


def film(
    gradio: Any,
    buttons: list[Any],
    cameras: list[tuple[Any, Any]],
    box: Any,
    private: dict[str, Any],
) -> None:
    """Each button opens its camera and shuts it; what a camera took goes into the box."""
    update = gradio.update
    opened = gradio.State(_NONE)
    columns = [column for column, _ in cameras]
    outputs = [*columns, *buttons, opened]

    def show(wanted: int) -> tuple[Any, ...]:
        shown = [update(visible=place == wanted) for place in range(len(columns))]
        names = [
            update(value=_CLOSE if place == wanted else name)
            for place, (name, _) in enumerate(BUTTONS)
        ]
        return (*shown, *names, wanted)

    def turn_to(number: int) -> Callable[[int], tuple[Any, ...]]:
        return lambda now: show(_NONE if now == number else number)

    def attach(file: str | None, value: Any) -> tuple[Any, ...]:
        if file is None:
            return tuple(update() for _ in range(2 + len(outputs)))
        given: dict[str, Any] = value or {}
        files: list[Any] = [*(given.get("files") or ()), file]
        filled = {"text": given.get("text") or "", "files": files}
        return (filled, update(value=None), *show(_NONE))

    for number, (button, (_, camera)) in enumerate(zip(buttons, cameras, strict=True)):
        button.click(turn_to(number), [opened], outputs, **private)
        camera.change(attach, [camera, box], [box, camera, *outputs], **private)
