"""The server's life: ready when the model is loaded, drained when it is asked to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from videollama2.serving.app import create_app
from videollama2.serving.service import Service

_HEADERS_S = 20.0
_LARGEST_HEADERS = 32 * 1024


class PatientProtocol(H11Protocol):
    """HTTP whose clients have so long to send the first request's headers, and no longer."""

    def connection_made(self, transport: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begin to wait."""
        super().connection_made(transport)
        self._waiting = self.loop.call_later(_HEADERS_S, self._hang_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for."""
        self._waiting.cancel()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        begun: Any = self.cycle  # None until a request's headers are whole
        if begun is None and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """Stops in two steps: from the first signal on nothing new is begun, and what is under way
    has `drain_s` to end; a second signal ends it at once.

    `said` is called once, when requests are answered.
    """

    def __init__(self, service: Service, said: Callable[[], None]) -> None:
        config = uvicorn.Config(
            create_app(service),
            http=PatientProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=_LARGEST_HEADERS,
        )
        super().__init__(config)
        self._service = service
        self._said: Callable[[], None] | None = said
        self._drain_until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; at the second signal, end."""
        if self._drain_until is not None:
            self.should_exit = True
            self.config.timeout_graceful_shutdown = 0
            return
        self._service.admission.closed = True
        self._drain_until = time.monotonic() + self._service.settings.drain_s

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether the end has come."""
        service = self._service
        if service.worker.failure is not None:
            return True
        if self._said is not None and service.is_ready:
            said, self._said = self._said, None
            said()
        if self._drain_until is not None:
            late = time.monotonic() >= self._drain_until
            self.should_exit = self.should_exit or late or service.admission.under_way == 0
        return await super().on_tick(counter)


def run(service: Service, bound: socket.socket, said: Callable[[], None]) -> None:
    """Serve until a signal ends it.

    Raises:
        Exception: whatever kept the model from being loaded.
    """
    server = Server(service, said)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, server.handle_exit)
        asyncio.run(_serve(server, bound))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if service.worker.failure is not None:
        raise service.worker.failure


async def _serve(server: Server, bound: socket.socket) -> None:
    # uvicorn's own signal handling raises the signal again once it has ended.
    whole: Any = server
    await whole._serve([bound])
