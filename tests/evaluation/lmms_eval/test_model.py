"""The chat model of lmms-eval answers what our own face answers."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import clips
import lmms_stand_in
import numpy as np
import pytest
from PIL import Image

from videollama2 import VideoLlama2

GREEDY = {"max_new_tokens": 8, "temperature": 0, "do_sample": False}


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Any:
    lmms_stand_in.put_in(monkeypatch)
    return import_module("videollama2.evaluation.lmms_eval.model").VideoLlama2Chat


def answers(model: Any, documents: list[Any], settings: list[dict[str, Any]]) -> list[Any]:
    """As lmms-eval asks: (context, doc_to_messages, settings, document, task, split)."""
    model.task_dict = {"task": {"test": documents}}
    requests = [
        lmms_stand_in.Instance(
            "generate_until", ("", lambda doc: doc, one, place, "task", "test"), 0
        )
        for place, one in enumerate(settings)
    ]
    return model.generate_until(requests)


def user(*content: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_entry_point_names_the_class(chat: Any) -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    module, _, name = project["project"]["entry-points"]["lmms_eval.models"][
        "videollama2"
    ].partition(":")
    manifest = getattr(import_module(module), name)()
    assert (manifest.model_id, manifest.simple_class_path) == ("videollama2", None)
    module, _, name = manifest.chat_class_path.rpartition(".")
    found = getattr(import_module(module), name)
    assert issubclass(found, lmms_stand_in.lmms)
    assert found.is_simple is False


def test_answers_are_those_of_the_face(chat: Any, tmp_path: Path) -> None:
    video = str(clips.write_video(tmp_path / "clip.mp4"))
    wave = clips.write_wav(tmp_path / "tone.wav")
    picture = Image.fromarray(clips.frames(1)[0])
    samples = np.sin(np.arange(16_000) / 20).astype(np.float32)
    asked = [
        user({"type": "video", "url": video}, text("What is heard?")),
        user({"type": "video", "url": video, "start_time": 0.5, "end_time": 1.5}, text("Who?")),
        user({"type": "audio", "url": str(wave)}, text("What is heard?")),
        user({"type": "audio", "url": {"array": samples, "sampling_rate": 16_000}}, text("What?")),
        user({"type": "image", "url": picture}, text("What is seen?")),
        user({"type": "video", "url": video, "sound": False}, text("What is heard?")),
        user(text("Hello?")),
        [*user(text("Hello?")), {"role": "assistant", "content": "yes"}, *user(text("Sure?"))],
    ]
    model = chat(pretrained="starter", batch_size="3", device="cpu", dtype="float32")
    results = answers(model, asked, [GREEDY] * len(asked))
    own = VideoLlama2.from_pretrained("starter", device="cpu", dtype="float32")
    expected = [
        own.ask("What is heard?", video=video, max_new_tokens=8),
        own.ask("Who?", video=video, start=0.5, end=1.5, max_new_tokens=8),
        own.ask("What is heard?", audio=wave, max_new_tokens=8),
        own.ask("What?", audio=samples, max_new_tokens=8),
        own.ask("What is seen?", image=picture, max_new_tokens=8),
        own.ask("What is heard?", video=video, sound=False, max_new_tokens=8),
        own.ask("Hello?", max_new_tokens=8),
    ]
    assert [one.text for one in results[:-1]] == [str(one) for one in expected]
    assert results[-1].text
    assert results[0].token_counts.input_tokens > results[6].token_counts.input_tokens
    assert [kept[2] for kept in model.cache_hook.kept] == [one.text for one in results]
    deaf = chat(sound=False, device="cpu", dtype="float32")
    assert answers(deaf, asked[:1], [GREEDY])[0].text == str(expected[5])


def test_a_broken_medium_costs_its_own_answer_alone(
    chat: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing" * 99)
    asked = [
        user({"type": "video", "url": str(tmp_path / "broken.mp4")}, text("What?")),
        user(text("Hello?")),
        user(text("word " * 20_000)),
    ]
    model = chat(batch_size=4, device="cpu", dtype="float32")
    results = answers(model, asked, [{**GREEDY, "num_beams": 5}] * 3)
    assert [bool(one.text) for one in results] == [False, True, False]
    assert model.unanswered == 2
    assert "broken.mp4" in caplog.text
    assert "num_beams=5" in caplog.text
    assert "no answer to 2 documents" in caplog.text


def test_settings_of_each_request_are_followed(chat: Any) -> None:
    asked = [user(text("Hello?"))] * 4
    model = chat(batch_size=4, device="cpu", dtype="float32")
    whole = answers(model, asked[:1], [GREEDY])[0].text
    assert len(whole) > 1
    settings = [
        {**GREEDY, "max_new_tokens": 1},
        {**GREEDY, "until": [whole[1:2], ""]},
        {"temperature": 5.0, "do_sample": False, "top_p": None, "until": "\n\n"},
        {"temperature": 1.5, "top_p": 0.99, "do_sample": True, "max_new_tokens": 30},
    ]
    results = answers(model, asked, settings)
    assert results[0].token_counts.output_tokens == 1
    assert whole[1:2] not in results[1].text
    assert results[2].text.startswith(whole[:2])
    again = answers(model, asked, settings)
    assert [one.text for one in again] == [one.text for one in results]


def test_what_is_not_offered_says_so(chat: Any) -> None:
    with pytest.raises(ValueError, match="takes no max_frames"):
        chat(max_frames=3)
    model = chat(device="cpu")
    for method in (model.loglikelihood, model.generate_until_multi_round):
        with pytest.raises(NotImplementedError, match="generate_until"):
            method([])
    with pytest.raises(ValueError, match="'depth'"):
        answers(model, [user({"type": "depth", "url": "x"}, text("?"))], [GREEDY])
