"""What of gradio is reached, by whom, and with what in it. Its application is a stand-in here."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from videollama2.serving.errors import ApiError
from videollama2.serving.page.door import Door
from videollama2.serving.settings import ServerSettings

PAGE = b"<html><script>window.x = 1</script><script src='a.js'></script></html>"
Ask = Callable[..., httpx2.Response]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers everything that gets as far."""
    page = scope["path"] == "/"
    kind = b"text/html; charset=utf-8" if page else b"application/json"
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": PAGE if page else b'"reached"'})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    return uploads


@pytest.fixture
def ask(folder: Path, tmp_path: Path) -> Callable[..., Ask]:
    def make(**settings: Any) -> Ask:
        door = Door(ServerSettings(page=True, **settings), folder, tmp_path / "examples")
        door.open(application)

        async def guarded(scope: Any, receive: Any, send: Any) -> None:
            try:
                if not door.leads_to(scope["path"]):
                    raise ApiError(404, "the gate sends it elsewhere", code="no_such_route")
                if not door.lets_in(scope):
                    raise ApiError(401, "no", code="invalid_api_key")
                await door(scope, receive, send)
            except ApiError as error:
                start = {"type": "http.response.start", "status": error.status, "headers": []}
                await send(start)
                body = json.dumps(error.body).encode()
                await send({"type": "http.response.body", "body": body})

        def one(method: str, path: str, **options: Any) -> httpx2.Response:
            async def send() -> httpx2.Response:
                transport = httpx2.ASGITransport(app=guarded)
                async with httpx2.AsyncClient(
                    transport=transport, base_url="http://test"
                ) as client:
                    return await client.request(method, path, **options)

            return asyncio.run(send())

        return one

    return make


@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/assets/index-x.js", "/static/fonts/a.woff2", "/theme.css",
     "/gradio_api/queue/data?session_hash=a", "/gradio_api/heartbeat/abc"],
)  # fmt: skip
def test_what_the_page_needs_is_reached(ask: Callable[..., Ask], path: str) -> None:
    assert ask()("GET", path).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/call/x/y", "/monitoring",
     "/gradio_api/proxy=http://example.org", "/gradio_api/stream/a/b/0/playlist.m3u8", "/token",
     "/gradio_api/vibe-code", "/gradio_api/custom_component/a/b/c/d", "/assets/../secret",
     "/gradio_api/dev/reload", "/gradio_api/deep_link", "/gradio_api/runs"],
)  # fmt: skip
def test_nothing_else_is(ask: Callable[..., Ask], path: str) -> None:
    assert ask()("GET", path).status_code == 404


def test_posts(ask: Callable[..., Ask]) -> None:
    one = ask()
    for path in ("/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset"):
        assert one("POST", path, json={}).status_code == 200
    for path in ("/gradio_api/run/x", "/gradio_api/api/x", "/gradio_api/process_recording", "/",
                 "/gradio_api/component_server", "/gradio_api/run-history/connect"):  # fmt: skip
        assert one("POST", path, json={}).status_code == 404


@pytest.mark.parametrize(
    "file",
    ["http://169.254.169.254/latest", "https://example.org/a.mp4", "/etc/passwd",
     "{folder}/../secret", "{folder}-beside/a", "//example.org/a"],
)  # fmt: skip
def test_files_elsewhere_are_not_served_and_nothing_is_fetched(
    ask: Callable[..., Ask], folder: Path, file: str
) -> None:
    """CVE-2024-47868, CVE-2026-59806, GHSA-3xvj-7669-6whx: `file=` and names in events."""
    name = file.format(folder=folder)
    one = ask()
    assert one("GET", f"/gradio_api/file={name}").status_code == 404
    event = {
        "data": [{"text": "", "files": [{"path": name, "meta": {"_type": "gradio.FileData"}}]}]
    }
    assert one("POST", "/gradio_api/queue/join", json=event).status_code == 400


def test_uploaded_files_are_served(ask: Callable[..., Ask], folder: Path) -> None:
    one = ask()
    assert one("GET", f"/gradio_api/file={folder}/ab/clip.mp4").status_code == 200
    event = {"data": [{"files": [{"path": f"{folder}/ab/clip.mp4"}]}]}
    assert one("POST", "/gradio_api/queue/join", json=event).status_code == 200


def test_events_are_small_json(ask: Callable[..., Ask]) -> None:
    one = ask()
    assert one("POST", "/gradio_api/queue/join", content=b"{").status_code == 400
    assert one("POST", "/gradio_api/queue/join", content=b"[" * 100_000).status_code == 400
    assert one("POST", "/gradio_api/queue/join", content=bytes(2 * 1024**2)).status_code == 413


def test_uploads_are_bounded_together(ask: Callable[..., Ask], folder: Path) -> None:
    one = ask(max_upload_bytes=1000)
    assert one("POST", "/gradio_api/upload", content=bytes(600)).status_code == 200
    (folder / "a").write_bytes(bytes(600))
    refused = one("POST", "/gradio_api/upload", content=bytes(600))
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "uploads_full"


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"},
     {"origin": "http://evil.example"}, {"origin": "null"}],
)  # fmt: skip
def test_other_sites_cannot_post(ask: Callable[..., Ask], headers: dict[str, str]) -> None:
    assert ask()("POST", "/gradio_api/upload", content=b"", headers=headers).status_code == 403
    own = [
        {"sec-fetch-site": "same-origin", "origin": "http://test"},
        {"origin": "http://test"},  # all there is over plain http from another machine
        {"sec-fetch-site": "same-origin", "origin": "null"},  # a form, where no referrer is told
        {},
    ]
    for given in own:
        assert ask()("POST", "/gradio_api/upload", content=b"", headers=given).status_code == 200


def test_the_form_tells_where_it_comes_from(ask: Callable[..., Ask]) -> None:
    """With "no-referrer" browsers send forms with `Origin: null`, which is another site's."""
    headers = ask(api_key="sk-1")("GET", "/").headers
    assert headers["referrer-policy"] == "same-origin"


def test_the_browser_is_kept_to_this_server(ask: Callable[..., Ask]) -> None:
    found = ask()("GET", "/")
    policy = found.headers["content-security-policy"]
    assert found.content == PAGE
    assert "default-src 'none'" in policy
    digest = base64.b64encode(hashlib.sha256(b"window.x = 1").digest()).decode()
    assert f"'sha256-{digest}'" in policy
    for directive in policy.split(";"):
        assert "http" not in directive
        assert "*" not in directive
    scripts = next(one for one in policy.split("; ") if one.startswith("script-src"))
    assert "unsafe" not in scripts
    assert found.headers["x-content-type-options"] == "nosniff"


def test_the_key_is_asked_for(ask: Callable[..., Ask]) -> None:
    one = ask(api_key="sk-1")
    assert b'name="key"' in one("GET", "/").content
    assert one("GET", "/assets/index.js").status_code == 200
    for path in ("/config", "/gradio_api/queue/data", "/gradio_api/heartbeat/a"):
        assert one("GET", path).status_code == 401
    assert one("POST", "/gradio_api/upload", content=b"").status_code == 401
    wrong = one("POST", "/login", content=b"key=sk-2")
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers
    right = one("POST", "/login", content=b"key=sk-1")
    assert (right.status_code, right.headers["location"]) == (303, "/")
    given = right.headers["set-cookie"]
    assert "sk-1" not in given
    assert "HttpOnly" in given
    assert "SameSite=Strict" in given
    cookie = {"cookie": given.split(";")[0]}
    assert one("GET", "/", headers=cookie).content == PAGE
    assert one("GET", "/config", headers=cookie).status_code == 200
    for bad in ("videollama2_page=x", "videollama2_page=", "=", "\x7f;;;=", f"{given[:30]}"):
        assert one("GET", "/config", headers={"cookie": bad}).status_code == 401


def test_before_the_page_is_there(folder: Path, tmp_path: Path) -> None:
    door = Door(ServerSettings(page=True), folder, tmp_path)

    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=door)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/")

    waiting = asyncio.run(send())
    assert waiting.status_code == 503
    assert b"refresh" in waiting.content
    door.give_up()
    assert b"log" in asyncio.run(send()).content
