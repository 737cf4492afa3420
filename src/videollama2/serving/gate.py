"""The first thing that a request meets: key, place, size and time, before anything is parsed."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Protocol

from videollama2.serving.admission import Ticket
from videollama2.serving.errors import ApiError, internal
from videollama2.serving.service import Service

log = logging.getLogger("videollama2.serving")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_LINGER_S = 5.0

OPEN_PATHS = frozenset({"/health/live", "/health/ready"})
ROUTES = frozenset(
    {*OPEN_PATHS, "/metrics", "/v1/models", "/v1/chat/completions", "/v1/audio/tags"}
)


class Entrance(Protocol):
    """The way to the page: an application for the paths that it leads to."""

    def leads_to(self, path: str) -> bool:
        """Whether this path is the page's."""
        ...

    def lets_in(self, scope: Scope) -> bool:
        """Whether this request may come in without the key."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request of the page's."""
        ...


class Gate:
    """Checks the key (in constant time), takes a place, reads the body within its limits.

    Every answer gets an `X-Request-Id` of ours, and one line in the log: no query, no media.
    """

    def __init__(
        self, app: Application, service: Service, entrance: Entrance | None = None
    ) -> None:
        self._app = app
        self._service = service
        self._entrance = entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        answer = _Answer(send, secrets.token_hex(12))
        scope.setdefault("state", {})["request_id"] = answer.request_id
        began = time.monotonic()
        ticket: Ticket | None = None
        unread: Receive | None = receive if scope["method"] not in ("GET", "HEAD") else None
        try:
            entrance = self._way(scope)
            if unread is not None:
                ticket = self._service.admission.enter()
                # No name for the body here: it is tens of megabytes, and would stay to the end.
                receive, unread = replay(await self._body(scope, receive, ticket), receive), None
            await (entrance or self._app)(scope, receive, answer.send)
        except ApiError as error:
            if ticket is not None and unread is not None:
                ticket.release()  # throwing away what still comes takes no place
                ticket = None
            await answer.refuse(error, unread)
        except asyncio.CancelledError:
            if not self._service.admission.closed:
                raise
            log.warning("request %s was cut off: the server stops", answer.request_id)
        except Exception:
            log.exception("request %s failed", answer.request_id)
            await answer.refuse(internal())
        finally:
            if ticket is not None:
                ticket.release()
            self._note(scope, answer, time.monotonic() - began)

    def _way(self, scope: Scope) -> Entrance | None:
        """The page's entrance where a request is for the page, else None.

        Raises:
            ApiError: 401.
        """
        entrance = self._entrance
        if scope["path"] in ROUTES or entrance is None or not entrance.leads_to(scope["path"]):
            self._authenticate(scope)
            return None
        if not entrance.lets_in(scope):
            self._authenticate(scope)
        return entrance

    def _authenticate(self, scope: Scope) -> None:
        key = self._service.settings.api_key
        if key is None or scope["path"] in OPEN_PATHS or scope["path"] == "/":
            return
        given = f"Bearer {key_of(scope)}".encode(errors="replace")
        if not hmac.compare_digest(given, f"Bearer {key}".encode()):
            raise ApiError(401, "the API key is missing or wrong", code="invalid_api_key")

    async def _body(self, scope: Scope, receive: Receive, ticket: Ticket) -> bytes:
        promised = header_of(scope, b"content-length")
        if promised.isdigit() and int(promised) > self._service.settings.max_body_bytes:
            ticket.hold(int(promised))
        limit_s = self._service.settings.body_timeout_s
        pieces = bytearray()
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ApiError(400, "the body was cut off", code="body_cut_off")
                    piece: bytes = message.get("body", b"")
                    ticket.hold(len(piece))
                    pieces += piece
                    if not message.get("more_body", False):
                        return bytes(pieces)
        except TimeoutError:
            raise ApiError(
                408, f"the body did not arrive within {limit_s:g} s", code="body_too_slow"
            ) from None

    def _note(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        route = self._route(scope["path"])
        metrics = self._service.metrics
        metrics.requests.labels(route, str(answer.status)).inc()
        if route == "page" and answer.status < 400:
            return  # dozens for one visit; its questions are noted on their own
        metrics.request_seconds.observe(seconds)
        if route not in OPEN_PATHS:
            milliseconds = 1000 * seconds
            log.info(
                "%s %s %d %.0f ms %s",
                scope["method"][:8], route, answer.status, milliseconds, answer.request_id,
            )  # fmt: skip

    def _route(self, path: str) -> str:
        if path in ROUTES:
            return path
        return "page" if self._entrance is not None and self._entrance.leads_to(path) else "other"


class _Answer:
    """What is sent back: its status, and whether it has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.request_id = request_id
        self.status = 499  # nobody waited for one
        self._send = send
        self._begun = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Pass a message on, the request's id in its headers."""
        if message["type"] == "http.response.start":
            self._begun = True
            self.status = int(message["status"])
            headers = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, error: ApiError, unread: Receive | None = None) -> None:
        """Send an error, unless an answer has begun: then the connection breaks off.

        What still comes of a body that is `unread` is thrown away for a while before the connection
        closes: closing on it would reset the connection, and the client would never see the error.
        """
        if self._begun:
            return
        body = json.dumps(error.body).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            # What is left of a body that was not read is no next request.
            **({"connection": "close"} if error.status in (401, 408, 413, 429, 503) else {}),
            **error.headers,
        }
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        if unread is not None:
            await _throw_away(unread)
        await self.send({"type": "http.response.body", "body": b""})


async def _throw_away(receive: Receive) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while (await receive()).get("more_body", False):
                pass


def key_of(scope: Scope) -> str:
    """The API key that came with a request, "" where none did."""
    kind, _, key = header_of(scope, b"authorization").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def header_of(scope: Scope, name: bytes) -> str:
    """A request's header, "" where it has none of this name (in lower case)."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def replay(body: bytes, receive: Receive) -> Receive:
    """A body as one message, then whatever the connection says."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return replayed
