"""What of gradio is reached at all: the few routes that the page needs, and what they may carry.

gradio serves many more routes and fetches addresses in some; behind this door there are none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from videollama2.serving.errors import ApiError
from videollama2.serving.gate import Application, Receive, Scope, Send, header_of, replay
from videollama2.serving.page.login import Logins, cookie, form
from videollama2.serving.settings import ServerSettings

_ASSET = re.compile(r"/(assets|static)/[\w./-]+|/theme\.css|/favicon\.ico|/manifest\.json")
_GET = re.compile(
    r"/config|/gradio_api/(queue/data|upload_progress|startup-events|heartbeat/\w{1,64})"
)
_POST = re.compile(r"/gradio_api/(upload|queue/join|cancel|reset)")
_FILE = "/gradio_api/file="
_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.S)
_LARGEST_EVENT = 1024**2

# Nothing is loaded from or sent to anywhere else, whatever an answer or a file's name holds.
_POLICY = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob: data:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    # With "no-referrer" browsers send the form for the key as another site's, with `Origin: null`.
    b"referrer-policy": b"same-origin",
    b"permissions-policy": b"camera=(self), microphone=(self), geolocation=()",
    b"cross-origin-opener-policy": b"same-origin",
}


class Door:
    """Stands before gradio's application.

    `folder` is where uploads lie, at most `max_bytes` of them; `examples` are served too.
    """

    def __init__(self, settings: ServerSettings, folder: Path, examples: Path) -> None:
        self._app: Application = _not_yet
        self._folder = folder
        self._roots = (f"{folder}/", f"{examples}/")
        self._max_bytes = settings.max_upload_bytes
        self._logins = None if settings.api_key is None else Logins(settings.api_key)

    def open(self, app: Application) -> None:
        """From now on the page is there."""
        self._app = app

    def give_up(self) -> None:
        """There will be no page."""
        self._app = _never

    def leads_to(self, path: str) -> bool:
        """Whether a path is the page's business."""
        return path in ("/", "/login") or _is_asset(path) or self._is_inner(path)

    def lets_in(self, scope: Scope) -> bool:
        """Whether a request needs no key, or brings a cookie that stands for it."""
        path = scope["path"]
        if path in ("/", "/login") or _is_asset(path):
            return True  # the form that asks for the key, and what looks the same for everybody
        return self._is_inner(path) and self._knows(scope)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            ApiError: it is refused.
        """
        path, method = scope["path"], scope["method"]
        answer = _Guarded(send)
        if path == "/login" and method == "POST":
            await self._log_in(scope, receive, answer)
        elif path in ("/", "/login") and method in ("GET", "HEAD"):
            if path == "/" and self._knows(scope):
                await self._app(scope, receive, answer)
                await answer.finish()
            else:
                await answer.page(form())
        elif method in ("GET", "HEAD") and self._may_get(path):
            await self._app(scope, receive, answer)
            await answer.finish()
        elif method == "POST" and _POST.fullmatch(path):
            await self._post(scope, receive, answer)
        else:
            raise ApiError(404, "there is no such route", code="no_such_route")

    def _is_inner(self, path: str) -> bool:
        return path.startswith("/gradio_api/") or path == "/config"

    def _may_get(self, path: str) -> bool:
        if path.startswith(_FILE):
            file = path.removeprefix(_FILE)
            return file.startswith(self._roots) and ".." not in file
        return _is_asset(path) or _GET.fullmatch(path) is not None

    def _knows(self, scope: Scope) -> bool:
        return self._logins is None or self._logins.knows(header_of(scope, b"cookie"))

    async def _log_in(self, scope: Scope, receive: Receive, answer: _Guarded) -> None:
        _same_site(scope)
        token = None if self._logins is None else self._logins.enter(await _body(receive))
        if token is None and self._logins is not None:
            await answer.page(form("This is not the key of this server."), status=401)
            return
        extra = {b"location": b"/"}
        if token is not None:
            secure = scope.get("scheme") == "https"
            extra[b"set-cookie"] = cookie(token, secure=secure).encode()
        await answer.page(b"", status=303, extra=extra)

    async def _post(self, scope: Scope, receive: Receive, answer: _Guarded) -> None:
        _same_site(scope)
        body = await _body(receive)
        if scope["path"].endswith("/upload"):
            self._check_room(len(body))
        else:
            self._check_event(body)
        await self._app(scope, replay(body, receive), answer)
        await answer.finish()

    def _check_room(self, size: int) -> None:
        held = sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())
        if held + size > self._max_bytes:
            raise ApiError(
                429, "there is no room for more files now", code="uploads_full", retry_after_s=60
            )

    def _check_event(self, body: bytes) -> None:
        """Whatever file an event names is one that lies here already: nothing is fetched."""
        if len(body) > _LARGEST_EVENT:
            raise ApiError(413, "the event is too large", code="body_too_large")
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            raise ApiError(400, "the event is no JSON", code="invalid_body") from None
        for name in _named_files(event):
            if not name.startswith(self._roots) or ".." in name or "\0" in name:
                raise ApiError(400, "the event names a file elsewhere", code="invalid_body")


async def _not_yet(scope: Scope, receive: Receive, send: Send) -> None:
    """One moment: the page asks again by itself."""
    await _say(send, b'<meta http-equiv="refresh" content="2">', b"One moment, please.")


async def _never(scope: Scope, receive: Receive, send: Send) -> None:
    await _say(send, b"", b"The page could not be built; the log of the server says why.")


async def _say(send: Send, head: bytes, words: bytes) -> None:
    page = b"<!doctype html><title>VideoLLaMA 2</title>%s<p>%s</p>" % (head, words)
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"retry-after", b"2")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": page})


class _Guarded:
    """An answer with headers that keep the browser to this server.

    A page of HTML is held back until `finish`, so that the policy can name its own scripts.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: dict[str, Any] | None = None
        self._pieces: list[bytes] = []

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))
            kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
            kept = [pair for pair in headers if pair[0].lower() not in _HEADERS]
            start = {**message, "headers": [*kept, *_HEADERS.items()]}
            if kind.startswith(b"text/html"):
                self._start = start
                return
            start["headers"].append(_policy(()))
            await self._send(start)
        elif self._start is not None:
            self._pieces.append(message.get("body", b""))
        else:
            await self._send(message)

    async def finish(self) -> None:
        """Send what was held back."""
        if self._start is None:
            return
        page = b"".join(self._pieces)
        start, self._start = self._start, None
        start["headers"] = [*start["headers"], _policy(_SCRIPT.findall(page))]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": page})

    async def page(
        self, body: bytes, status: int = 200, extra: dict[bytes, bytes] | None = None
    ) -> None:
        """A page of our own."""
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *(extra or {}).items(),
        ]
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})
        await self.finish()


def _policy(scripts: list[bytes] | tuple[()]) -> tuple[bytes, bytes]:
    hashes = (base64.b64encode(hashlib.sha256(one).digest()).decode() for one in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return b"content-security-policy", _POLICY.format(scripts=allowed).encode()


def _same_site(scope: Scope) -> None:
    """Refuse what another site has the browser send.

    `Sec-Fetch-Site` is the browser's own word, but comes only with https and from this machine;
    without it the origin is compared.

    Raises:
        ApiError: 403.
    """
    site = header_of(scope, b"sec-fetch-site")
    origin = header_of(scope, b"origin")
    ours = not origin or urlsplit(origin).netloc == header_of(scope, b"host")
    if site not in ("same-origin", "none") if site else not ours:
        raise ApiError(403, "this request comes from another site", code="other_site")


async def _body(receive: Receive) -> bytes:
    """The whole body: the gate has read it already."""
    return bytes((await receive()).get("body", b""))


def _named_files(value: Any) -> Iterator[str]:
    """Every path and address of a file in an event, however deep."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += cast("list[Any]", one)
        elif isinstance(one, dict):
            fields = cast("dict[str, Any]", one)
            if "path" in fields:
                yield str(fields["path"])
            waiting += fields.values()


def _is_asset(path: str) -> bool:
    return ".." not in path and _ASSET.fullmatch(path) is not None
