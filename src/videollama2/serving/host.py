"""Who may name this server how: a name of somebody else's that leads here is no name of ours."""

from __future__ import annotations

import ipaddress
import json
from urllib.parse import urlsplit

from videollama2.serving.errors import ApiError
from videollama2.serving.gate import Application, Receive, Scope, Send, header_of

_OWN = frozenset({"localhost", "127.0.0.1", "::1"})


def own_names(host: str) -> frozenset[str] | None:
    """The names of a server that listens at `host` and is meant for this machine alone.

    None where it is reached from elsewhere: by what name, is not known here.
    """
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return _OWN | {host} if local else None


class OwnNames:
    """Refuses requests to any other name.

    A page elsewhere can have its own name lead to 127.0.0.1 and then speak to a server there as if
    it were its own (DNS rebinding); the name that its requests are for is what gives it away.
    """

    def __init__(self, app: Application, names: frozenset[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it before anything of it is read."""
        if scope["type"] != "http" or _name(header_of(scope, b"host")) in self._names:
            await self._app(scope, receive, send)
            return
        refusal = ApiError(
            403,
            "this server is for its own machine: call it localhost, or start it with --api-key",
            code="other_host",
        )
        body = json.dumps(refusal.body).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _name(host: str) -> str | None:
    """The name in a `Host` header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
