"""vLLM's own server with the plugin, asked over HTTP as any OpenAI client asks."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from vllm_engines import ours

from videollama2.engine import user_message
from videollama2.generation.settings import SamplingSettings
from videollama2.processing.parts import AudioInput, Part, VideoInput

CLIP = Path(__file__).parents[2] / "starter" / "clips" / "scene-003.mp4"
QUESTION = "What is heard?"
PATIENCE_S = 560


@pytest.fixture(scope="module")
def server(starter: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the starter."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = tmp_path_factory.mktemp("server") / "said.txt"
    words = ["-m", "vllm.entrypoints.openai.api_server", "--model", starter, "--port", str(port)]
    words += ["--served-model-name", "starter", "--dtype", "float32", "--enforce-eager"]
    words += ["--trust-request-mm-kwargs", "--distributed-executor-backend", "uni"]
    # Without processes of the workers' own, and without a C++ compiler: both take long to start.
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "TORCH_COMPILE_DISABLE": "1",
    }
    with said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=file, stderr=file, env=environment
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _answers(address):
            assert process.poll() is None, said.read_text()[-3000:]
            assert time.monotonic() < deadline, said.read_text()[-3000:]
            time.sleep(1)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def _answers(address: str) -> bool:
    parts = urlsplit(address)
    with socket.socket() as there:  # a client each second would take the server's time
        if there.connect_ex((parts.hostname, parts.port)) != 0:
            return False
    return httpx2.get(f"{address}/health", timeout=60).status_code == 200


def ask(server: str, *parts: dict[str, Any], **fields: Any) -> httpx2.Response:
    content = [*parts, {"type": "text", "text": QUESTION}]
    body = {
        "model": "starter",
        "messages": [{"role": "user", "content": content}],
        "max_tokens": 8,
        "temperature": 0,
        **fields,
    }
    return httpx2.post(f"{server}/v1/chat/completions", json=body, timeout=200)


def video(file: Path) -> dict[str, Any]:
    data = base64.b64encode(file.read_bytes()).decode()
    return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{data}"}}


def sound(file: Path) -> dict[str, Any]:
    data = base64.b64encode(file.read_bytes()).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def test_the_answers_of_our_own_engine(server: str, starter: str, media_folder: Path) -> None:
    own = ours(starter)
    heard = {"mm_processor_kwargs": {"use_audio_in_video": True}}
    tone = media_folder / "tone.wav"
    cases: list[tuple[list[dict[str, Any]], dict[str, Any], list[Part]]] = [
        ([], {}, []),
        ([video(CLIP)], {}, [VideoInput(CLIP, sound=False)]),
        ([video(CLIP)], heard, [VideoInput(CLIP, sound=True)]),
        ([sound(tone), video(CLIP)], {}, [AudioInput(tone), VideoInput(CLIP, sound=False)]),
    ]
    for content, options, parts in cases:
        media = own.take_in(parts)
        prompt = own.prompt([user_message(QUESTION, media)], media)
        expected = own.write([prompt], [SamplingSettings(8)])[0]
        answer = ask(server, *content, **options).json()
        assert answer["usage"]["prompt_tokens"] == expected.prompt_tokens
        assert answer["choices"][0]["message"]["content"].strip() == expected.text


def test_what_is_refused(server: str, media_folder: Path) -> None:
    broken = ask(server, video(media_folder / "garbage.mp4"))
    assert broken.status_code == 400, broken.text
    unknown = ask(server, video(CLIP), mm_processor_kwargs={"frames": 3})
    assert unknown.status_code == 400, unknown.text
    assert "it may have use_audio_in_video" in unknown.text
    written = {"type": "text", "text": "<video>"}
    for parts in ([written], [video(CLIP), written]):
        wrong = ask(server, *parts)
        assert wrong.status_code == 400, wrong.text
        assert "video" in wrong.text
