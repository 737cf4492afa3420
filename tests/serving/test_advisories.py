"""What has hurt other servers of multimodal models: each advisory's failure, tried here.

The tests of one failure share its name; where another file has the test, `ELSEWHERE` says so.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import hmac
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import videollama2
from videollama2.serving import gate, length
from videollama2.serving.host import own_names
from videollama2.serving.protocol import ChatCompletionRequest
from videollama2.serving.settings import MediaRules

ROOT = Path(videollama2.__file__).parent
ELSEWHERE = {
    "CVE-2025-6242, server-side request forgery": "test_refusals.py::test_ssrf_private_addresses",
    "CVE-2026-24779, two parsers of one address": "test_refusals.py::test_ssrf_hosts_that_are_not",
    "issue 57157, rebinding and redirects": "../media/test_source.py::test_",
    "CVE-2026-54233, audio bomb": "../faults/test_bombs.py::test_a_bomb",
    "CVE-2026-105758, frames without a ceiling": "test_refusals.py::test_frames_have_a_ceiling",
    "CVE-2024-47167, files outside of the folder": "test_refusals.py::test_path_traversal",
    "CVE-2026-116176, the request's id": "test_server.py::test_the_log_tells_no_secrets",
    "PYSEC-2026-4353, forged features": "../reading/test_check.py::test_a_forged_reply",
}


def test_every_other_place_has_its_test() -> None:
    for place in ELSEWHERE.values():
        name, test = place.split("::")
        assert f"def {test}" in (Path(__file__).parent / name).read_text(encoding="utf-8"), place


class Upload:
    """A client that counts how much of its body is taken before there is an answer."""

    def __init__(self, pieces: int, size: int = 65_536, wait_s: float = 0.0) -> None:
        self.left = pieces
        self.taken = 0
        self.answer: list[Any] = []
        self._size, self._wait_s = size, wait_s

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(self._wait_s)
        self.taken += not self.answer
        self.left -= 1
        return {"type": "http.request", "body": b"a" * self._size, "more_body": self.left > 0}

    async def send(self, message: Any) -> None:
        self.answer.append(message)

    def post(self, app: Any, **headers: str) -> tuple[int, str]:
        scope = {
            "type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"",
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        }  # fmt: skip
        asyncio.run(app(scope, self.receive, self.send))
        body = b"".join(message.get("body", b"") for message in self.answer)
        return self.answer[0]["status"], json.loads(body)["error"]["code"]


@pytest.fixture(scope="module")
def guarded(serve: Callable[..., Any]) -> Any:
    return serve(api_key="right", readers=1, max_body_bytes=200_000, body_timeout_s=0.3)


def test_ghsa_7mpg_authentication_comes_before_the_body_is_read(guarded: Any) -> None:
    upload = Upload(100)
    assert upload.post(guarded.app, authorization="Bearer wrong") == (401, "invalid_api_key")
    assert upload.taken == 0


def test_keys_are_compared_in_constant_time(guarded: Any, monkeypatch: Any) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def spy(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return hmac.compare_digest(first, second)

    monkeypatch.setattr(gate, "hmac", type("Spy", (), {"compare_digest": staticmethod(spy)}))
    assert guarded("/v1/models", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert guarded("/v1/models", headers={"Authorization": "Bearer right"}).status_code == 200
    assert len(compared) == 2


def test_cve_2026_55646_size_is_checked_while_the_body_arrives(guarded: Any) -> None:
    upload = Upload(1000)
    assert upload.post(guarded.app, authorization="Bearer right") == (413, "body_too_large")
    assert upload.taken <= 4
    upload = Upload(1)
    assert upload.post(guarded.app, authorization="Bearer right", content_length="999999999") == (
        413,
        "body_too_large",
    )
    assert upload.taken == 0


def test_a_slow_body_is_not_waited_for(guarded: Any) -> None:
    upload = Upload(1000, size=1, wait_s=0.05)
    assert upload.post(guarded.app, authorization="Bearer right") == (408, "body_too_slow")
    assert guarded.service.admission.under_way == guarded.service.admission.held_bytes == 0


def test_cve_2026_100650_media_are_counted_before_any_is_read(ask: Any, sound: Any) -> None:
    misses = ask.service.metrics.cache_misses._value.get()
    assert ask.chat(*[sound] * 4).json()["error"]["code"] == "too_many_media"
    far = {"type": "video_url", "video_url": {"url": "http://example.com/a.mp4"}}
    assert ask.chat(sound, far).json()["error"]["code"] == "media_source_refused"
    assert ask.service.metrics.cache_misses._value.get() == misses


def test_cve_2026_34755_a_video_of_jpegs_without_end(ask: Any) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, "JPEG")
    data = base64.b64encode(file.getvalue() * 3000).decode()
    for kind in ("video/jpeg", "video/x-motion-jpeg"):
        part = {"type": "video_url", "video_url": {"url": f"data:{kind};base64,{data}"}}
        reply = ask.chat({**part, "num_frames": 4}, "?")
        assert reply.status_code == 400 or reply.json()["media"][0]["frames"] <= 4


def picture(image: Image.Image, kind: str = "PNG") -> dict[str, Any]:
    file = io.BytesIO()
    image.save(file, kind)
    url = f"data:image/x;base64,{base64.b64encode(file.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (1, 3), (3, 3), (1, 900), (900, 1)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16"])
def test_cve_2026_22773_pictures_of_ambiguous_shape(ask: Any, size: Any, mode: str) -> None:
    assert ask.chat(picture(Image.new(mode, size)), "?").status_code == 200


def test_cve_2026_22778_a_decoder_that_has_been_broken_is_out_of_reach(ask: Any) -> None:
    data = base64.b64encode(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200)).decode()
    jpeg2000 = {"type": "image_url", "image_url": {"url": f"data:image/jp2;base64,{data}"}}
    for reply in (ask.chat(jpeg2000), ask.chat(picture(Image.new("RGB", (8, 8)), "TIFF"))):
        assert reply.status_code == 400
        error = reply.json()["error"]
        assert error["code"] == "media_unsupported"
        assert "object at" not in error["message"]
        assert "0x" not in error["message"]


def test_cve_2025_46722_other_content_is_another_clip(ask: Any) -> None:
    """The same pixels in another shape; the same bytes as another kind, or cut otherwise."""
    wide, high = (Image.frombytes("RGB", size, bytes(range(96))) for size in ((8, 4), (4, 8)))
    parts = [picture(wide), picture(high)]
    url = parts[0]["image_url"]["url"]
    parts += [{"type": "video_url", "video_url": {"url": url}, "num_frames": n} for n in (2, 3)]
    before = ask.service.metrics.cache_misses._value.get()
    for part in parts:
        assert ask.chat(part, "?").status_code == 200
    assert ask.service.metrics.cache_misses._value.get() == before + len(parts)


@pytest.mark.parametrize("text", ["<vid", "<video", "{{", "\U0001f600", "a" * 50, "\x00", "<|im_"])
def test_cve_2025_46560_a_prompt_that_is_slow_to_take_apart(ask: Any, text: str) -> None:
    reply = ask.chat(text * (1_000_000 // len(text)))
    assert reply.json()["error"]["code"] == ("invalid_body" if text == "{{" else "invalid_prompt")


def test_cve_2025_46560_a_long_text_keeps_nobody_waiting(ask: Any, monkeypatch: Any) -> None:
    """It is not the model's thread that finds out, and no more is taken apart than is needed."""
    taken: list[str] = []
    backend = ask.service.assistant.tokenizer.backend_tokenizer

    class Watched:
        def encode(self, text: str, **options: Any) -> Any:
            taken.append(text)
            return backend.encode(text, **options)

    monkeypatch.setattr(length, "backend_of", lambda _: Watched())
    monkeypatch.setattr(ask.service.worker, "submit", lambda _: pytest.fail("it got through"))
    reply = ask.chat("word " * 2_000_000)
    assert reply.json()["error"]["code"] == "invalid_prompt"
    assert 0 < sum(map(len, taken)) < 100_000


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": [' + b",".join([b'{"role": "user", "content": ""}'] * 60_000) + b"]}",
        b'{"messages": [], "stop": [' + b"0," * 1_100_000 + b"0]}",
        b'{"messages": ' + b"[],[" * 60_000 + b"]}",
    ],
)
def test_a_body_of_a_million_parts_is_not_parsed(ask: Any, monkeypatch: Any, body: bytes) -> None:
    parsing = ChatCompletionRequest, "model_validate_json"
    monkeypatch.setattr(*parsing, lambda _: pytest.fail("it is parsed"))
    error = ask(content=body).json()["error"]
    assert error["message"] == "the body has too many parts"


@pytest.fixture(scope="module")
def local(serve: Any) -> Any:
    """A server for its own machine, without a key."""
    return serve(names=own_names("127.0.0.1"), readers=1)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example",
                                  "", "[::1", "localhost@evil.example:1"])  # fmt: skip
def test_cve_2024_28224_a_name_that_was_made_to_lead_here(local: Any, host: str) -> None:
    for path in ("/", "/v1/models", "/health/live"):
        reply = local(path, headers={"Host": host})
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "other_host")
    for ours in ("localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1"):
        assert local("/v1/models", headers={"Host": ours}).status_code == 200


def test_own_names_are_those_of_a_server_for_its_own_machine() -> None:
    assert own_names("0.0.0.0") is own_names("192.168.0.7") is own_names("::") is None
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.9"):
        assert host in (own_names(host) or ())


@pytest.mark.parametrize("tools", [[{}], "all", {"type": 1}, [[[[]]]], 7])
def test_cve_2025_48944_malformed_tools(ask: Any, tools: Any) -> None:
    assert ask.chat("?", tools=tools).status_code == 400


@pytest.mark.parametrize(
    "field", ["chat_template", "chat_template_kwargs", "mm_processor_kwargs", "code_revision",
              "prompt_embeds", "max_frames", "fps", "media_io_kwargs"]
)  # fmt: skip
def test_pysec_2026_4349_what_requests_may_not_set(ask: Any, field: str) -> None:
    error = ask.chat("?", **{field: "{{ range(10**9) | list }}"}).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_body", field)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"type": "string", "pattern": "(a+)+$"},
        {"type": "string", "pattern": "((a{1,999}){1,999}){1,999}"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 10**9, "maxItems": 10**9},
        {"enum": ["x" * 60_000]},
        {"type": "object", "properties": {"$ref": {"type": "null"}}, "minProperties": 10**6},
    ],
)
def test_a_schema_that_is_hard_to_follow(ask: Any, schema: Any) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    assert ask.chat("?", response_format=wanted).status_code in (200, 400)
    assert ask.chat("?").status_code == 200


def test_gradio_ghsa_3xvj_files_are_named_only_below_the_root(serve: Any) -> None:
    closed = serve(media=MediaRules(), readers=1)
    for name in ("clip.mp4", "/etc/passwd", "file:///etc/passwd"):
        part = {"type": "video_url", "video_url": {"url": name}}
        assert closed.chat(part).json()["error"]["code"] == "media_source_refused"


def calls(folder: str) -> set[str]:
    """Names called, and `assert`, in the code of a room."""
    found: set[str] = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                found.add("assert")
            if isinstance(node, ast.Call):
                found.add(ast.unparse(node.func))
    return found


@pytest.mark.parametrize("room", ["serving", "reading", "media", "processing"])
def test_cve_2026_41523_and_cve_2025_32444_no_assert_no_pickle(room: str) -> None:
    forbidden = {"assert", "eval", "exec", "torch.load", "pickle.load", "pickle.loads", "os.system"}
    assert not calls(room) & forbidden
