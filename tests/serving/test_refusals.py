"""Input that is wrong or hostile: a clear refusal, and the server goes on."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from videollama2.serving.completions import Completion
from videollama2.serving.errors import ApiError
from videollama2.serving.protocol import ChatCompletionRequest, parse
from videollama2.serving.settings import MIB, MediaRules

USER = [{"role": "user", "content": "?"}]


def refused(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code, error
    assert "/" not in error["message"].replace("http(s)", "")
    assert "0x" not in error["message"]
    return error


def video(url: str, **fields: Any) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url}, **fields}


def packed(data: bytes, kind: str = "video/mp4") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({}, "messages"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages[0].content[0].text",
        ),
        (
            {"messages": [{"role": "user", "content": [video(1)]}]},  # type: ignore[arg-type]
            "messages[0].content[0].video_url.url",
        ),
        ({"messages": USER, "temperature": 3}, "temperature"),
        ({"messages": USER, "temperature": "hot"}, "temperature"),
        ({"messages": USER, "top_p": 0}, "top_p"),
        ({"messages": USER, "n": 0}, "n"),
        ({"messages": USER, "n": 99}, "n"),
        ({"messages": USER, "max_tokens": 0}, "max_tokens"),
        ({"messages": USER, "stop": [""]}, "stop"),
        ({"messages": USER, "top_logprobs": 3}, "top_logprobs"),
        ({"messages": USER, "tools": [{"type": "function"}]}, "tools"),
        ({"messages": USER, "frequency_penalty": 1.0}, "frequency_penalty"),
        ({"messages": USER, "nonsense": True}, "nonsense"),
        (
            {"messages": [{"role": "user", "content": [video("a", start=-1.0)]}]},
            "messages[0].content[0].start",
        ),
        (
            {"messages": [{"role": "user", "content": [video("a", end=0.0)]}]},
            "messages[0].content[0].end",
        ),
        ({"messages": USER, "response_format": {"type": "json_schema"}}, "response_format"),
        (
            {
                "messages": USER,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {"type": "colour"}},
                },
            },
            "response_format",
        ),
    ],
)
def test_a_wrong_field_is_named(ask: Any, fields: dict[str, Any], param: str) -> None:
    response = ask(body=fields)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"messages": NaN}', b"[" * 100_000]
)
def test_what_is_no_json(ask: Any, body: bytes) -> None:
    refused(ask(content=body or b" "), 400, "invalid_body")


def test_settings_without_effect_pass(ask: Any) -> None:
    settings = {"frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "user": "me"}
    assert ask.chat("?", tool_choice="none", metadata={}, **settings).status_code == 200
    unsaid = ["n", "stream", "stop", "max_completion_tokens", "tools", "prediction", "logprobs"]
    assert ask.chat("?", **dict.fromkeys(unsaid)).status_code == 200


def test_unknown_routes_methods_and_models(ask: Any) -> None:
    refused(ask("/nowhere"), 404, "no_such_route")
    wrong = ask("/v1/chat/completions")
    refused(wrong, 405, "no_such_route")
    assert wrong.headers["allow"] == "POST"
    refused(ask.chat("?", model="gpt-5"), 404, "model_not_found")
    card = ask("/v1/models").json()["data"][0]
    assert (card["id"], card["owned_by"]) == ("tiny", "videollama2")
    assert ask("/v1/models/tiny").json() == card
    refused(ask("/v1/models/DAMO-NLP-SG/other"), 404, "model_not_found")
    assert card["num_frames"] == ask.service.assistant.model.config.num_frames
    assert ask("/health/live").status_code == ask("/health/ready").status_code == 200


def test_a_written_placeholder_and_a_prompt_that_is_too_long(ask: Any) -> None:
    refused(ask.chat("<video>"), 400, "invalid_prompt")
    refused(ask.chat("long " * 2000), 400, "invalid_prompt")
    refused(ask.chat("?", max_tokens=4000), 400, "context_length_exceeded")


# --- media ---


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("data:video/mp4;base64,", "media_empty"),
        ("data:video/mp4;base64,AAAA", "media_corrupt"),
        ("data:video/mp4;base64,%%%", "media_unsupported"),
        ("data:video/mp4;base64", "media_unsupported"),
        ("data:,", "media_empty"),
        (packed(np.random.default_rng(1).bytes(50_000)), "media_corrupt"),
        (packed(b"RIFF\xff\xff\xff\xffWAVEfmt "), "media_corrupt"),
        ("ftp://example.com/a.mp4", "media_source_refused"),
        ("javascript:alert(1)", "media_source_refused"),
        ("file://[/a.mp4", "media_not_found"),
        ("http://example.com/a.mp4", "media_source_refused"),  # not allowed unless said
        ("garbage.mp4", "media_corrupt"),
        ("empty.mp4", "media_empty"),
        ("cut.mkv", "media_truncated"),
    ],
)
def test_media_that_cannot_be_read(ask: Any, url: str, code: str) -> None:
    error = refused(ask.chat(video(url), "?"), 400, code)
    assert error["param"] == "messages[0].content[0]"
    assert ask.chat("still there?").status_code == 200


@pytest.mark.parametrize(
    "url",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "file:///etc/passwd",
        "file://elsewhere/clip.mp4",
        "file:%2e%2e/%2e%2e/etc/passwd",
        "..",
        ".",
        "link.mp4",
        "no-such-file.mp4",
        "clip.mp4\0.png",
        "~/clip.mp4",
    ],
)
def test_path_traversal(ask: Any, media_folder: Path, tmp_path: Path, url: str) -> None:
    link = media_folder / "link.mp4"
    if not link.is_symlink():
        (tmp_path / "secret.mp4").write_bytes((media_folder / "clip.mp4").read_bytes())
        link.symlink_to(tmp_path / "secret.mp4")
    # What exists and what does not exist outside of the folder are told apart by nobody.
    refused(ask.chat(video(url), "?"), 400, "media_not_found")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "0", "2130706433"],
)
def test_ssrf_private_addresses_even_where_any_host_is_allowed(serve: Any, host: str) -> None:
    server = shared(serve, "any host", media=MediaRules(hosts=("*",)))
    refused(server.chat(video(f"http://{host}/a.mp4"), "?"), 400, "media_not_fetched")
    assert "videollama2_media_refused_total" in server("/metrics").text


@pytest.mark.parametrize(
    "url",
    ["http://evil.test/a.mp4", r"http://good.test\@evil.test/a.mp4", "http://good.test@evil.test/"],
)
def test_ssrf_hosts_that_are_not_on_the_list(serve: Any, url: str) -> None:
    server = shared(serve, "one host", media=MediaRules(hosts=("good.test",)))
    refused(server.chat(video(url), "?"), 400, "media_not_fetched")


def test_too_many_media(ask: Any, sound: Any) -> None:
    refused(ask.chat(*[sound] * 4, "?"), 400, "too_many_media")


def test_frames_have_a_ceiling_that_requests_cannot_raise(ask: Any) -> None:
    refused(ask.chat(video("clip.mp4", num_frames=10**6), "?"), 400, "too_many_frames")


def test_huge_base64_is_refused_before_it_is_decoded(ask: Any) -> None:
    refused(ask.chat(video("data:;base64," + "A" * (49 * MIB * 4 // 3)), "?"), 413,
            "media_too_large")  # fmt: skip


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body


def gif_bomb() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("L", (4, 4), 255 * (index % 2)) for index in range(1200)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=600)
    return file.getvalue()


def test_decompression_bombs(ask: Any) -> None:
    picture = {"type": "image_url", "image_url": {"url": packed(png_header(65535, 65535))}}
    error = refused(ask.chat(picture, "?"), 400, "media_too_large")
    assert "pixels" in error["message"]
    long = io.BytesIO()
    rate = 8000
    samples = b"\0" * (rate * 1900)
    long.write(b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVEfmt ")
    long.write(struct.pack("<IHHIIHH", 16, 1, 1, rate, rate, 1, 8))
    long.write(b"data" + struct.pack("<I", len(samples)) + samples)
    data = base64.b64encode(long.getvalue()).decode()
    sound = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    refused(ask.chat(sound, "?"), 400, "media_too_large")
    assert ask.chat(video(packed(gif_bomb(), "image/gif")), "?").status_code in (200, 400)


@pytest.mark.parametrize("fault", ["crash", "hang", "memory", "nonsense"])
def test_a_medium_that_takes_its_reader_along(
    serve: Any, clip: Any, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    server = shared(serve, "faults", readers=1, read_timeout_s=4.0)
    pool = server.service._readers.pool
    assert server.chat(clip, "?").status_code == 200  # every process has been started
    hostile = Hostile(fault)
    monkeypatch.setattr(pool, "_loader", hostile)
    pool.close()
    code = "media_too_large" if fault == "memory" else "media_unreadable"
    changed = {**clip, "num_frames": {"crash": 2, "hang": 3, "memory": 4, "nonsense": 5}[fault]}
    refused(server.chat(changed, "?"), 400, code)
    monkeypatch.undo()
    pool.close()
    assert server.chat(clip, "?").status_code == 200


class Hostile:
    """A loader whose media do what hostile media might."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def load(self, part: Any) -> Any:
        import os
        import signal

        if self.fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.fault == "hang":
            time.sleep(60)
        if self.fault == "memory":
            return np.ones(10**10)
        os.write(1, b"")
        from videollama2.reading import task

        task.answer = lambda *_: b"nonsense"  # what a reader taken over might send
        raise SystemExit


def test_an_error_of_ours_has_the_form_of_every_other(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from videollama2.serving import app

    server = shared(serve, "failing")

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(app, "Completion", fail)
    reply = server.chat("?")
    refused(reply, 500, "internal_error")
    assert "secret" not in reply.text


# --- load ---

_SHARED: dict[str, Any] = {}


def shared(serve: Any, name: str, **settings: Any) -> Any:
    if name not in _SHARED:
        _SHARED[name] = serve(**{"readers": 1, **settings})
    return _SHARED[name]


def test_the_wrong_key(serve: Any) -> None:
    server = shared(serve, "key", api_key="right")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "right"},
                    {"Authorization": "Bearer right2"}):  # fmt: skip
        for path, body in (("/v1/models", None), ("/metrics", None), ("/nowhere", None),
                           ("/v1/chat/completions", {"messages": USER})):  # fmt: skip
            error = refused(server(path, body, headers=headers), 401, "invalid_api_key")
            assert error["type"] == "authentication_error"
    assert server("/health/ready").status_code == 200
    good = {"Authorization": "Bearer right"}
    assert server(body={"messages": USER, "max_tokens": 1}, headers=good).status_code == 200


def test_the_queue_is_bounded(serve: Any) -> None:
    server = shared(serve, "small", max_requests=2, max_rows=1, max_body_bytes=2000)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.chat("?", max_tokens=150), range(8)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 2
    busy = next(answer for answer in answers if answer.status_code == 429)
    assert int(busy.headers["retry-after"]) >= 1
    refused(busy, 429, "queue_full")
    assert server.service.admission.under_way == 0
    assert server.service.admission.held_bytes == 0
    assert server.chat("again?").status_code == 200


def test_a_body_over_the_limit(serve: Any) -> None:
    server = shared(serve, "small", max_requests=2, max_rows=1, max_body_bytes=2000)
    refused(server.chat("x" * 3000), 413, "body_too_large")
    assert server.service.admission.held_bytes == 0


def test_a_deadline(serve: Any) -> None:
    server = shared(serve, "hasty", deadline_s=0.05)
    refused(server.chat("?", max_tokens=1500), 504, "deadline_exceeded")
    for _ in range(100):
        if not server.service.worker.rows:
            break
        time.sleep(0.05)
    assert not server.service.worker.rows


def test_a_slow_reader_has_no_more_time(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that wait to be taken are no reason to go on past the deadline."""
    server = shared(serve, "slow")
    body = {"messages": USER, "max_tokens": 6}

    async def take() -> list[Any]:
        request = parse(ChatCompletionRequest, json.dumps(body).encode())
        completion = Completion(server.service, request, "id", "")
        await completion.begin()
        pieces = completion.pieces()
        taken = [await anext(pieces)]
        while server.service.worker.rows:  # the rest waits to be taken then
            await asyncio.sleep(0.01)
        now = asyncio.get_running_loop().time
        monkeypatch.setattr(Completion, "deadline", property(lambda _: now() - 1))
        return [*taken, *[piece async for piece in pieces]]

    with pytest.raises(ApiError) as caught:
        asyncio.run(take())
    assert caught.value.code == "deadline_exceeded"


def test_a_late_stream_says_so(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from videollama2.generation import batch

    server = shared(serve, "late", deadline_s=3.0)
    real = batch.ContinuousBatch._scores

    def scores(self: Any, longest: int) -> Any:
        time.sleep(0.1)  # the answer's end is two hundred steps away, its begin is none
        return real(self, longest)

    monkeypatch.setattr(batch.ContinuousBatch, "_scores", scores)
    text = server.chat("?", max_tokens=1900, stream=True).text
    last = [line for line in text.split("\n\n") if line][-2]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "deadline_exceeded"


def test_a_request_that_breaks_the_model_takes_no_neighbour_along(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from videollama2.generation import batch

    server = shared(serve, "broken")
    expected = server.chat("good", max_tokens=100).json()["choices"][0]["message"]
    real = batch.ContinuousBatch._scores

    def scores(self: Any, longest: int) -> Any:
        if any(row.settings.top_k == 7 and len(row.tokens) > 3 for row in self.rows):
            raise RuntimeError("out of memory at 0xdeadbeef")
        return real(self, longest)

    monkeypatch.setattr(batch.ContinuousBatch, "_scores", scores)
    with ThreadPoolExecutor(4) as pool:
        good = [pool.submit(server.chat, "good", max_tokens=100) for _ in range(3)]
        bad = pool.submit(server.chat, "bad", max_tokens=100, top_k=7, temperature=1)
    refused(bad.result(), 500, "internal_error")
    assert [one.result().json()["choices"][0]["message"] for one in good] == [expected] * 3


def test_keys_share_no_clip_where_they_shall_not(serve: Any, clip: Any) -> None:
    server = shared(serve, "apart", cache_per_key=True)
    misses = server.service.metrics.cache_misses._value
    for key, expected in (("a", 1), ("a", 1), ("b", 2)):
        body = {"messages": [{"role": "user", "content": [clip]}], "max_tokens": 1}
        assert server(body=body, headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert misses.get() == expected
