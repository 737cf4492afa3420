"""vLLM's own server with the plugin, asked by OpenAI's own client."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clips as made
import httpx2
import numpy as np
import openai
import pytest
from scipy.io import wavfile
from vllm_engines import ours
from vllm_servers import running

from videollama2.engine import Engine, user_message
from videollama2.generation.settings import SamplingSettings
from videollama2.processing.parts import AudioInput, ImageInput, Part, VideoInput

CLIPS = Path(__file__).parents[2] / "starter" / "clips"
CLIP, OTHER, THIRD = sorted(CLIPS.glob("*.mp4"))[3:6]
QUESTION = "What is heard?"
HEARD = {"mm_processor_kwargs": {"use_audio_in_video": True}}


@pytest.fixture(scope="module")
def client(starter: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """Of a server of the starter; it listens at a file, which nobody else can take."""
    folder = Path(tempfile.mkdtemp())  # short: such names have an end
    words = ["-m", "vllm.entrypoints.openai.api_server", "--model", starter]
    words += ["--uds", str(folder / "server"), "--served-model-name", "starter"]
    words += ["--dtype", "float32", "--enforce-eager", "--trust-request-mm-kwargs"]
    words += ["--distributed-executor-backend", "uni"]
    transport = httpx2.HTTPTransport(uds=str(folder / "server"))
    with httpx2.Client(transport=transport, base_url="http://server") as http:

        def is_ready() -> bool:
            try:
                return http.get("/health", timeout=60).status_code == 200
            except httpx2.ConnectError:
                return False

        said = tmp_path_factory.mktemp("server") / "said.txt"
        with running(words, said, is_ready):
            yield openai.OpenAI(
                api_key="none", base_url="http://server/v1", http_client=http, timeout=600
            )
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def own(starter: str) -> Engine:
    return ours(starter)


def ask(client: openai.OpenAI, *parts: dict[str, Any], **fields: Any) -> Any:
    content: Any = [*parts, {"type": "text", "text": QUESTION}]
    return client.chat.completions.create(
        model="starter",
        messages=[{"role": "user", "content": content}],
        max_tokens=8,
        temperature=0,
        **fields,
    )


def expected(own: Engine, *parts: Part) -> tuple[str, int]:
    media = own.take_in(parts)
    prompt = own.prompt([user_message(QUESTION, media)], media)
    written = own.write([prompt], [SamplingSettings(8)])[0]
    return written.text, written.prompt_tokens


def got(answer: Any) -> tuple[str, int]:
    return answer.choices[0].message.content.strip(), answer.usage.prompt_tokens


def coded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def video(file: Path) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{coded(file)}"}}


def image(file: Path) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{coded(file)}"}}


def sound(file: Path) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": coded(file), "format": "wav"}}


def test_the_answers_of_our_own_engine(
    client: openai.OpenAI, own: Engine, media_folder: Path
) -> None:
    tone, picture = media_folder / "tone.wav", media_folder / "picture.png"
    silent = [VideoInput(clip, sound=False) for clip in (CLIP, OTHER)]
    loud = [VideoInput(clip, sound=True) for clip in (CLIP, OTHER)]
    cases: list[tuple[list[dict[str, Any]], dict[str, Any], list[Part]]] = [
        ([], {}, []),
        ([video(CLIP)], {}, [silent[0]]),
        ([video(CLIP)], HEARD, [loud[0]]),
        ([sound(tone)], {}, [AudioInput(tone)]),
        ([image(picture)], {}, [ImageInput(picture)]),
        ([video(CLIP), video(OTHER)], HEARD, [*loud]),
        ([sound(tone), video(CLIP), image(picture)], {},
         [AudioInput(tone), silent[0], ImageInput(picture)]),
    ]  # fmt: skip
    for content, options, parts in cases:
        answer = ask(client, *content, extra_body=options)
        assert got(answer) == expected(own, *parts)
    pieces = ask(client, video(CLIP), extra_body=HEARD, stream=True)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text.strip() == expected(own, loud[0])[0]


def test_what_is_refused(client: openai.OpenAI, media_folder: Path) -> None:
    written = {"type": "text", "text": "<video>"}
    frames = {"mm_processor_kwargs": {"frames": 3}}
    wrong: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
        ([video(media_folder / "garbage.mp4")], {}, "not a media file"),
        ([image(media_folder / "garbage.mp4")], {}, "image"),
        ([sound(media_folder / "garbage.mp4")], {}, "not a media file"),
        ([video(media_folder / "silent.mp4")], HEARD, "no audio stream"),
        ([video(CLIP)], frames, "it may have use_audio_in_video"),
        ([written], {}, "video"),
        ([video(CLIP), written], {}, "video"),
    ]
    for parts, options, why in wrong:
        with pytest.raises(openai.BadRequestError, match=why):
            ask(client, *parts, extra_body=options)


def test_a_refused_request_leaves_no_trace(
    client: openai.OpenAI, own: Engine, tmp_path: Path
) -> None:
    """Media of a prompt that is too long are not taken for ones that the engine has."""
    before = expected(own, VideoInput(CLIP, sound=False))
    long = {"type": "text", "text": "a " * 2030}
    with pytest.raises(openai.BadRequestError, match="maximum"):
        ask(client, video(THIRD), long)
    assert got(ask(client, video(THIRD))) == expected(own, VideoInput(THIRD, sound=False))
    samples = made.tone(1.0)
    samples[4_000:] = np.nan
    wavfile.write(tmp_path / "wrong.wav", 16_000, samples)
    ask(client, sound(tmp_path / "wrong.wav"))  # 16 bits of it
    assert got(ask(client, video(CLIP))) == before
