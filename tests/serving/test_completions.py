"""Answers over the wire are those of the model at hand."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from videollama2.assistant import VideoLlama2


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> VideoLlama2:
    return VideoLlama2.from_pretrained(tiny_folder)


def text_of(response: Any) -> str:
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def events_of(response: Any) -> list[Any]:
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_every_kind_of_part_is_answered_as_by_ask(
    ask: Any, model: VideoLlama2, media_folder: Path, clip: Any, sound: Any
) -> None:
    picture = {"type": "image_url", "image_url": {"url": "picture.png", "detail": "auto"}}
    bare = {"type": "image_url", "image_url": "picture.png"}
    tone = {"type": "audio_url", "audio_url": {"url": f"file://{media_folder / 'tone.wav'}"}}
    cases = [
        ([clip], {"video": media_folder / "clip.mp4"}),
        ([{**clip, "sound": False}], {"video": media_folder / "clip.mp4", "sound": False}),
        ([{**clip, "start": 0.5, "num_frames": 4}],
         {"video": media_folder / "clip.mp4", "start": 0.5, "num_frames": 4}),
        ([picture], {"image": media_folder / "picture.png"}),
        ([bare], {"image": media_folder / "picture.png"}),
        ([sound], {"audio": media_folder / "tone.wav"}),
        ([tone], {"audio": media_folder / "tone.wav"}),
        ([picture, sound], {"image": media_folder / "picture.png",
                            "audio": media_folder / "tone.wav"}),
        ([], {}),
    ]  # fmt: skip
    for parts, media in cases:
        expected = model.ask("what?", max_new_tokens=6, **media)
        response = ask.chat(*parts, "what?")
        assert text_of(response) == expected.text
        body = response.json()
        assert body["usage"] == {
            "prompt_tokens": expected.prompt_tokens,
            "completion_tokens": expected.generated_tokens,
            "total_tokens": expected.prompt_tokens + expected.generated_tokens,
        }
        heard = [(one["kind"], one["frames"], one["sound_s"]) for one in body["media"]]
        assert heard == [(r.kind, r.frames, r.sound_s) for r in expected.media]
        places = [f"messages[0].content[{place}]" for place in range(len(parts))]
        assert [one["path"] for one in body["media"]] == places


def test_a_conversation_with_a_system_text_and_earlier_turns(ask: Any, clip: Any) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [clip, {"type": "text", "text": "one"}]},
        {"role": "assistant", "content": "1", "refusal": None, "annotations": []},
        {"role": "user", "content": "two"},
    ]
    whole = ask(body={"messages": messages, "max_completion_tokens": 4})
    assert text_of(whole)
    assert text_of(whole) != text_of(ask(body={"messages": messages[:2], "max_tokens": 4}))


def test_a_stream_says_what_the_whole_says(ask: Any, clip: Any) -> None:
    whole = ask.chat(clip, "hm?")
    chunks = events_of(ask.chat(clip, "hm?", stream=True, stream_options={"include_usage": True}))
    said = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    assert said == text_of(whole)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[0]["media"] == whole.json()["media"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole.json()["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in events_of(ask.chat("hm?", stream=True)))


def test_several_choices_are_drawn_apart_and_again(ask: Any) -> None:
    drawn = {"n": 3, "temperature": 1.5, "seed": 4, "top_p": 0.9}
    first = ask.chat("draw", **drawn).json()["choices"]
    texts = [choice["message"]["content"] for choice in first]
    assert [choice["index"] for choice in first] == [0, 1, 2]
    assert len(set(texts)) == 3
    assert texts == [
        choice["message"]["content"] for choice in ask.chat("draw", **drawn).json()["choices"]
    ]
    streamed = {0: "", 1: "", 2: ""}
    for chunk in events_of(ask.chat("draw", stream=True, **drawn)):
        choice = chunk["choices"][0]
        streamed[choice["index"]] += choice["delta"].get("content", "")
    assert list(streamed.values()) == texts


def test_requests_that_run_together_answer_as_alone(ask: Any, clip: Any, sound: Any) -> None:
    questions = [([clip], "a"), ([], "a longer question than that"), ([sound], "c"), ([], "d")] * 3
    settings = {"temperature": 1.0, "seed": 9, "max_tokens": 12}
    alone = [text_of(ask.chat(*media, text, **settings)) for media, text in questions[:4]]
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask.chat, *media, text, **settings) for media, text in questions]
    assert [text_of(one.result()) for one in asked] == alone * 3
    page = ask("/metrics").text
    shared = [line for line in page.splitlines() if line.startswith("videollama2_step_rows_bucket")]
    counts = [float(line.rsplit(" ", 1)[1]) for line in shared]
    assert counts[-1] > counts[0]  # some steps had more than one row


def test_stop_strings_end_an_answer(ask: Any) -> None:
    free = text_of(ask.chat("stop", max_tokens=20, temperature=1.0, seed=1))
    cut = free[3:5]
    stopped = ask.chat("stop", max_tokens=20, temperature=1.0, seed=1, stop=[cut])
    assert text_of(stopped) == free[: free.index(cut)].rstrip()
    assert stopped.json()["choices"][0]["finish_reason"] == "stop"


def test_logprobs(ask: Any) -> None:
    body = ask.chat("how sure?", logprobs=True, top_logprobs=2).json()
    content = body["choices"][0]["logprobs"]["content"]
    assert len(content) == body["usage"]["completion_tokens"]
    for entry in content:  # greedy: the likeliest is the one taken
        assert entry["logprob"] == pytest.approx(entry["top_logprobs"][0]["logprob"])
        assert entry["token"] == entry["top_logprobs"][0]["token"]
        assert len(entry["top_logprobs"]) == 2
        assert bytes(entry["bytes"]).decode(errors="replace") == entry["token"]
    joined = b"".join(bytes(entry["bytes"]) for entry in content)
    assert joined.decode(errors="replace").strip() == body["choices"][0]["message"]["content"]
    chunks = events_of(ask.chat("how sure?", logprobs=True, top_logprobs=2, stream=True))
    streamed = [
        entry
        for chunk in chunks
        for entry in (chunk["choices"][0]["logprobs"] or {"content": []})["content"]
    ]
    # The second prompt is in the prefix cache, and its last token read by itself: another sum.
    assert [entry["token"] for entry in streamed] == [entry["token"] for entry in content]
    for entry, other in zip(streamed, content, strict=True):
        assert entry["logprob"] == pytest.approx(other["logprob"], abs=1e-4)
    assert ask.chat("how sure?").json()["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("temperature", [0, 1])
def test_json_of_a_schema(ask: Any, clip: Any, temperature: float) -> None:
    schema = {
        "type": "object",
        "properties": {
            "heard": {"type": "boolean"},
            "who": {"enum": ["dog", "cat"]},
            "times": {"type": "array", "items": {"type": "integer", "maximum": 99}, "maxItems": 2},
        },
        "required": ["heard", "who", "times"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "found", "schema": schema}}
    answer = ask.chat(
        clip, "?", response_format=wanted, max_tokens=80, temperature=temperature, seed=2
    )
    found = json.loads(text_of(answer))
    assert found["who"] in ("dog", "cat")
    assert isinstance(found["heard"], bool)
    assert answer.json()["choices"][0]["finish_reason"] == "stop"


def test_the_same_clip_is_read_and_encoded_once(ask: Any, media_folder: Path) -> None:
    metrics = ask.service.metrics
    other = {"type": "video_url", "video_url": {"url": "other.mp4"}}

    def counted() -> tuple[float, float]:
        encoded = metrics.encode_seconds._sum.get()
        return encoded, metrics.read_seconds._sum.get()

    first = text_of(ask.chat(other, "who?"))
    after = counted()
    assert text_of(ask.chat(other, "who?")) == first
    assert counted() == after
    ask.chat({**other, "num_frames": 3}, "who?")  # other settings are another medium
    assert counted() > after
