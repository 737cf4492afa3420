"""A question from the page is answered as a request is, and refused as one is."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videollama2.processing.parts import MediaReport
from videollama2.serving.errors import ApiError
from videollama2.serving.page.look import Look, TagWindow
from videollama2.serving.page.showing import panel, shown, spectrogram
from videollama2.serving.page.talk import Clip, Turn, Wishes, media_type
from videollama2.serving.page.talk import ask as ask_page
from videollama2.serving.page.words import plain
from videollama2.serving.settings import MediaRules

SHORT = Wishes(longest=6)


def run(
    service: Any, turns: list[Turn], wishes: Wishes = SHORT, unseen: tuple[int, ...] = ()
) -> Any:
    async def collect() -> list[Any]:
        return [event async for event in ask_page(service, turns, SHORT, "", unseen)]

    return asyncio.run(collect())


def text(events: list[Any]) -> str:
    return "".join(event.text for event in events if not isinstance(event, Look))


def test_the_same_answer_as_over_the_wire(serve: Any, clip: Any, media_folder: Path) -> None:
    client = serve(readers=1)
    turns = [Turn("What is heard?", (Clip.of(media_folder / "clip.mp4"),))]
    events = run(client.service, turns, unseen=(0,))
    expected = client.chat(clip, "What is heard?", temperature=0).json()
    assert text(events) == expected["choices"][0]["message"]["content"]
    look = next(event for event in events if isinstance(event, Look))
    report = expected["media"][0]
    assert look.report.frames == report["frames"] == len(look.pictures)
    assert look.pictures.dtype == np.uint8
    assert len(look.report.timestamps_s) == report["frames"]
    assert len(look.energies) == pytest.approx(100 * report["sound_s"], abs=4)
    assert [len(window.tags) for window in look.windows] == [5]
    assert client.service.metrics.cache_hits._value.get() == 1  # the one after the other
    assert client.service.admission.under_way == 0
    assert client.service.admission.held_bytes == 0


def test_limits_are_those_of_requests(serve: Any, media_folder: Path, tmp_path: Path) -> None:
    clip = Clip.of(media_folder / "clip.mp4")
    client = serve(media=MediaRules(max_items=1), max_body_bytes=60_000, readers=1)

    def refused(turns: list[Turn]) -> str:
        with pytest.raises(ApiError) as caught:
            run(client.service, turns)
        assert client.service.admission.under_way == 0
        assert plain(caught.value)
        return caught.value.code

    assert refused([Turn("a", (clip,)), Turn("b", (clip,))]) in ("too_many_media", "body_too_large")
    assert refused([Turn("?", (Clip.of(media_folder / "garbage.mp4"),))]) == "media_corrupt"
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(100_000))
    assert refused([Turn("?", (Clip.of(large),))]) == "body_too_large"
    gone = tmp_path / "gone.mp4"
    shutil.copy(media_folder / "clip.mp4", gone)
    turn = Turn("?", (Clip.of(gone),))
    gone.unlink()
    assert refused([turn]) == "media_gone"
    client.service.admission.closed = True
    assert refused([Turn("?")]) == "shutting_down"


def test_who_leaves_frees_the_place(serve: Any) -> None:
    client = serve(readers=1)

    async def leave() -> None:
        answer = ask_page(client.service, [Turn("Tell me more")], Wishes(longest=500), "", ())
        await anext(answer)
        await answer.aclose()

    asyncio.run(leave())
    assert client.service.admission.under_way == 0


@pytest.mark.parametrize(
    ("name", "kind", "type_"),
    [
        ("a.MP4", "video", "video/mp4"),
        ("a.webm", "video", "video/webm"),
        ("a.mkv", "video", "video/x-matroska"),
        ("a", "video", "application/octet-stream"),
        ("a.png", "image", "image/png"),
        ("a.opus", "audio", "audio/ogg"),
        ("a.weba", "audio", "audio/webm"),
        ("a.wav", "audio", None),
    ],
)
def test_kinds_by_name(name: str, kind: str, type_: str | None) -> None:
    assert Clip.of(Path(name)).kind == kind
    assert type_ is None or media_type(Path(name)) == type_


def test_markup_in_names_is_text() -> None:
    hurt = "<img src=x onerror=alert(1)>"
    report = MediaReport("", "video", 2.0, 1, 1.0, (hurt,), (0.5,))
    pictures = np.zeros((1, 4, 4, 3), np.uint8)
    energies = np.random.default_rng(0).normal(size=(100, 128)).astype(np.float32)
    look = Look(report, pictures, energies, (TagWindow(0.0, 1.0, ((hurt, 0.5),)),))
    html = panel([shown(look, hurt)])
    assert html.count("&lt;img src=x onerror") == 3
    assert "<img src=x" not in html
    assert "0.5 s" in html


def test_a_spectrogram_shows_a_tone_where_it_is() -> None:
    energies = np.zeros((2000, 128), np.float32)
    energies[1000:, 96] = 5.0
    picture = np.asarray(spectrogram(energies)).astype(int).sum(2)
    assert picture.shape[0] == 128
    bright = np.argwhere(picture == picture.max())
    assert set(bright[:, 0]) == {127 - 96}
    assert bright[:, 1].min() == pytest.approx(picture.shape[1] / 2, abs=1)
