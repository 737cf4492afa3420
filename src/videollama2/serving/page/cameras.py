"""What people record or take a picture of on the page itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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
    opened = gradio.State(-1)
    columns = [column for column, _ in cameras]

    def turn_to(number: int) -> Callable[[int], tuple[Any, ...]]:
        def turn(now: int) -> tuple[Any, ...]:
            wanted = -1 if now == number else number
            shown = [update(visible=place == wanted) for place in range(len(columns))]
            return (*shown, wanted)

        return turn

    def attach(file: str | None, value: Any) -> tuple[Any, ...]:
        if file is None:
            return tuple(update() for _ in range(4))
        given: dict[str, Any] = value or {}
        files: list[Any] = [*(given.get("files") or ()), file]
        filled = {"text": given.get("text") or "", "files": files}
        return filled, update(value=None), update(visible=False), -1

    for number, (button, (column, camera)) in enumerate(zip(buttons, cameras, strict=True)):
        button.click(turn_to(number), [opened], [*columns, opened], **private)
        camera.change(attach, [camera, box], [box, camera, column, opened], **private)
