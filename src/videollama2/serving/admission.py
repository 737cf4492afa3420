"""How much is taken on at a time: requests under way and the bytes that their bodies hold."""

from __future__ import annotations

import time

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
