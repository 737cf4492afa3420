"""The server's life: ready when the model is loaded, drained when it is asked to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from videollama2.serving.app import create_app
from videollama2.serving.service import Service

_HEADERS_S = 20.0
_TAKING_S = 60.0
_LARGEST_HEADERS = 32 * 1024


class PatientProtocol(H11Protocol):
    """HTTP whose clients have so long to send a request's headers, and to take in an answer."""

    _headers: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begin to wait."""
        super().connection_made(transport)
        self._headers = self.loop.call_later(_HEADERS_S, self._hang_up)
        wire = transport.get_extra_info("socket")
        if wire is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # what close() leaves unsent
            with suppress(OSError):
                milliseconds = int(1000 * _TAKING_S)
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for."""
        self._headers = _over(self._headers)
        self._taking = _over(self._taking)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Wait for the rest of headers that have begun, be they the first ones or later ones."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._headers = _over(self._headers)
        elif self._headers is None and not self.transport.is_closing():
            self._headers = self.loop.call_later(_HEADERS_S, self._hang_up)

    def pause_writing(self) -> None:
        """The client takes nothing in just now."""
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(_TAKING_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        self._taking = _over(self._taking)
        super().resume_writing()

    def _hang_up(self) -> None:
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


def _over(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class Server(uvicorn.Server):
    """Stops in two steps: from the first signal on nothing new is begun, and what is under way
    has `drain_s` to end; a second signal ends it at once.

    `said` is called once, when requests are answered, `said_page` once the page is open.
    """

    def __init__(
        self,
        service: Service,
        said: Callable[[], None],
        said_page: Callable[[], None] = lambda: None,
    ) -> None:
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
        self._to_say = [(lambda: service.is_ready, said), (lambda: service.page_is_open, said_page)]
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
        while self._to_say and self._to_say[0][0]():
            self._to_say.pop(0)[1]()
        if self._drain_until is not None:
            late = time.monotonic() >= self._drain_until
            self.should_exit = self.should_exit or late or service.admission.under_way == 0
        return await super().on_tick(counter)


def run(
    service: Service,
    bound: socket.socket,
    said: Callable[[], None],
    said_page: Callable[[], None] = lambda: None,
) -> None:
    """Serve until a signal ends it; `said` and `said_page` as `Server` has them.

    Raises:
        Exception: whatever kept the model from being loaded.
    """
    server = Server(service, said, said_page)
    _allow_files()
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


def _allow_files() -> None:
    """As many open files, and so connections, as this process may have."""
    try:
        import resource
    except ImportError:  # not on every system
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(server: Server, bound: socket.socket) -> None:
    # uvicorn's own signal handling raises the signal again once it has ended.
    whole: Any = server
    await whole._serve([bound])
