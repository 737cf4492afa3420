"""Sound tags over the wire are the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from videollama2.assistant import VideoLlama2


def test_tags_in_windows(ask: Any, tiny_folder: Path, media_folder: Path, sound: Any) -> None:
    model = VideoLlama2.from_pretrained(tiny_folder)
    found = ask("/v1/audio/tags", {"audio": sound, "window_s": 0.4, "top_k": 3})
    assert found.status_code == 200, found.text
    body = found.json()
    assert body["duration_s"] == pytest.approx(1.0)
    spans = [(one["start"], one["end"]) for one in body["data"]]
    assert spans == [(0.0, 0.4), (0.4, 0.8), (0.8, pytest.approx(1.0))]
    for (start, end), window in zip(spans, body["data"], strict=True):
        expected = model.tag_sound(media_folder / "tone.wav", 3, start=start, end=end)
        said = [(tag["index"], pytest.approx(tag["probability"])) for tag in window["tags"]]
        assert said == expected
        assert all(tag["name"] is None for tag in window["tags"])  # the checkpoint has no names


def test_tags_of_a_soundtrack(ask: Any) -> None:
    video = {"type": "video_url", "video_url": {"url": "clip.mp4"}}
    body = ask("/v1/audio/tags", {"audio": video}).json()
    assert [one["start"] for one in body["data"]] == [0.0]
    assert len(body["data"][0]["tags"]) == 5


@pytest.mark.parametrize(
    ("file", "code"), [("silent.mp4", "media_without_sound"), ("garbage.mp4", "media_corrupt")]
)
def test_media_without_sound(ask: Any, file: str, code: str) -> None:
    audio = {"type": "audio_url", "audio_url": {"url": file}}
    found = ask("/v1/audio/tags", {"audio": audio})
    assert found.status_code == 400
    assert found.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("fields", "param"),
    [({}, "audio"), ({"audio": {"type": "image_url", "image_url": {"url": "a"}}}, "audio"),
     ({"audio": {"type": "audio_url", "audio_url": {}}}, "audio.audio_url.url"),
     ({"audio": {"type": "audio_url", "audio_url": {"url": "a"}}, "window_s": 0}, "window_s")],
)  # fmt: skip
def test_wrong_fields(ask: Any, fields: dict[str, Any], param: str) -> None:
    error = ask("/v1/audio/tags", fields).json()["error"]
    assert error["param"] == param
