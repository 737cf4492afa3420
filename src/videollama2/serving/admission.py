"""How much is taken on at a time: requests under way and the bytes that their bodies hold."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from videollama2.serving.errors import ApiError
from videollama2.serving.settings import ServerSettings

_LONGEST_WAIT_S = 60


class Ticket:
    """One admitted request; `release` it when it is over."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._began = time.monotonic()
        self._held = 0

    def hold(self, size: int) -> None:
        """Count `size` more bytes.

        Raises:
            ApiError: 413 over the limit of one body, 429 over that of all together.
        """
        settings = self._admission.settings
        if self._held + size > settings.max_body_bytes:
            raise ApiError(
                413,
                f"the body is over the limit of {settings.max_body_bytes} bytes",
                code="body_too_large",
            )
        if self._admission.held_bytes + size > settings.max_held_bytes:
            raise self._admission.busy()
        self._held += size
        self._admission.held_bytes += size

    def release(self) -> None:
        """Give back the place and the bytes."""
        self._admission.leave(self._held, time.monotonic() - self._began)
        self._held = 0


class Admission:
    """Counts what is under way. Lives in the event loop's thread."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.under_way = 0
        self.held_bytes = 0
        self.closed = False
        self._mean_s = 1.0

    def enter(self) -> Ticket:
        """Take a place.

        Raises:
            ApiError: 429 where all are taken, 503 where the server is about to stop.
        """
        if self.closed:
            raise ApiError(
                503, "the server is about to stop", code="shutting_down", retry_after_s=5
            )
        if self.under_way >= self.settings.max_requests:
            raise self.busy()
        self.under_way += 1
        return Ticket(self)

    def leave(self, size: int, seconds: float) -> None:
        """A request is over."""
        self.under_way -= 1
        self.held_bytes -= size
        self._mean_s += 0.1 * (seconds - self._mean_s)

    def busy(self) -> ApiError:
        """The refusal of what comes on top; it may try again after a request's usual time."""
        wait_s = min(max(1, round(self._mean_s)), _LONGEST_WAIT_S)
        return ApiError(
            429, "the server is busy: try again later", code="queue_full", retry_after_s=wait_s
        )


class Room:
    """Memory for media that were read and are not encoded yet, given out in turn.

    A request takes room for all that it brings before the first of it is read, so none waits for
    another that waits for it. Lives in the event loop's thread.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def taken(self) -> int:
        """Bytes given out."""
        return self._size - self._free

    @asynccontextmanager
    async def take(self, size: int) -> AsyncGenerator[None]:
        """Room for `size` bytes, or all there is if that is less."""
        size = min(size, self._size)
        if self._waiting or size > self._free:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._free += size
                self._wake()
                raise
        else:
            self._free -= size
        try:
            yield
        finally:
            self._free += size
            self._wake()

    def _wake(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if size > self._free:
                    return
                self._free -= size
                turn.set_result(None)
            self._waiting.popleft()
