"""`videollama2 serve --engine vllm` in a process of its own, asked over HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from vllm_engines import ours
from vllm_servers import running

from videollama2.engine import user_message
from videollama2.generation.settings import SamplingSettings
from videollama2.processing.parts import VideoInput

CLIPS = Path(__file__).parents[2] / "starter" / "clips"
QUESTION = "What is heard?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the starter."""
    said = tmp_path_factory.mktemp("server") / "said.txt"
    words = ["-m", "videollama2", "serve", "--engine", "vllm", "--port", "0"]
    words += ["--dtype", "float32", "--max-rows", "8"]
    with running(words, said, lambda: " at http" in said.read_text()) as process:
        lines = said.read_text().splitlines()
        yield next(line.split(" at ")[1] for line in lines if " at http" in line)
    assert process.returncode == 0, said.read_text()[-3000:]


def ask(server: str, clip: Path, **fields: Any) -> httpx2.Response:
    uri = f"data:video/mp4;base64,{base64.b64encode(clip.read_bytes()).decode()}"
    content = [
        {"type": "video_url", "video_url": {"url": uri}},
        {"type": "text", "text": QUESTION},
    ]
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": 8, **fields}
    return httpx2.post(f"{server}/chat/completions", json=body, timeout=300)


def test_answers_are_those_of_our_own_engine(server: str, starter: str) -> None:
    """Eight at a time, in one piece and streamed, with what was taken in and counted."""
    own = ours(starter)
    clips = sorted(CLIPS.glob("*.mp4"))[:8]
    expected = []
    for clip in clips:
        media = own.take_in([VideoInput(clip)])
        prompt = own.prompt([user_message(QUESTION, media)], media)
        expected.append(own.write([prompt], [SamplingSettings(8)])[0])
    with ThreadPoolExecutor(8) as pool:
        answers = [one.json() for one in pool.map(lambda clip: ask(server, clip), clips)]
    for answer, written in zip(answers, expected, strict=True):
        choice = answer["choices"][0]
        assert choice["message"]["content"] == written.text
        assert choice["finish_reason"] == written.finish_reason
        assert answer["usage"]["prompt_tokens"] == written.prompt_tokens
        assert answer["usage"]["completion_tokens"] == len(written.token_ids)
        assert answer["media"][0]["sound_s"] > 0
    lines = ask(server, clips[0], stream=True).text.split("\n\n")
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    assert text == expected[0].text


def test_what_is_refused(server: str) -> None:
    broken = ask(server, Path(__file__))
    assert broken.status_code == 400
    assert "messages[0].content[0]" in broken.json()["error"]["message"]
    long = ask(server, sorted(CLIPS.glob("*.mp4"))[0], max_tokens=4000)
    assert long.status_code == 400
    assert long.json()["error"]["code"] == "context_length_exceeded"
    tags = httpx2.post(f"{server}/audio/tags", json={"audio": {"type": "input_audio"}}, timeout=60)
    assert tags.status_code == 400


def test_choices_logprobs_and_schemas(server: str) -> None:
    clip = sorted(CLIPS.glob("*.mp4"))[0]
    answer = ask(server, clip, n=2, temperature=1.0, seed=3, logprobs=True, top_logprobs=2).json()
    assert len(answer["choices"]) == 2
    content = answer["choices"][0]["logprobs"]["content"]
    assert content
    assert all(len(one["top_logprobs"]) == 2 and one["logprob"] <= 0 for one in content)
    again = ask(server, clip, n=2, temperature=1.0, seed=3).json()
    assert [one["message"] for one in again["choices"]] == [
        one["message"] for one in answer["choices"]
    ]
    schema = {
        "type": "object",
        "properties": {"sound": {"type": "string", "enum": ["dog", "bell"]}},
        "required": ["sound"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "heard", "schema": schema}}
    held = ask(server, clip, max_tokens=40, response_format=wanted).json()["choices"][0]
    assert json.loads(held["message"]["content"])["sound"] in {"dog", "bell"}
