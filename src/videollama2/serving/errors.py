"""What a client is told when its request is refused: fixed texts, in OpenAI's form."""

from __future__ import annotations

from typing import Any

from videollama2.media.errors import (
    CorruptMediaError,
    EmptyMediaError,
    EmptyRangeError,
    MediaError,
    MediaFetchError,
    MediaNotFoundError,
    MediaTooLargeError,
    NoAudioStreamError,
    NoVideoStreamError,
    TruncatedMediaError,
    UnsupportedMediaError,
)


class ApiError(Exception):
    """A request that is not answered: an HTTP status and OpenAI's error object."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> dict[str, Any]:
        """What is sent."""
        kinds = {401: "authentication_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "invalid_request_error")
        error = {
            "message": self.message,
            "type": kind if self.status < 500 else "server_error",
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    @property
    def headers(self) -> dict[str, str]:
        """What is sent beside it."""
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}


# A library's own message may hold paths, addresses or worse, so none is passed on.
_MEDIA: dict[type[MediaError], tuple[str, str]] = {
    MediaNotFoundError: ("media_not_found", "there is no such medium"),
    EmptyMediaError: ("media_empty", "it holds no bytes, frames or samples"),
    CorruptMediaError: ("media_corrupt", "it is damaged, or no medium of a known format"),
    TruncatedMediaError: ("media_truncated", "it is cut short"),
    NoVideoStreamError: ("media_without_pictures", "it has no pictures"),
    NoAudioStreamError: ("media_without_sound", "it has no sound"),
    EmptyRangeError: ("media_range_empty", "its start and end hold nothing of it"),
    MediaTooLargeError: ("media_too_large", "it is larger than this server reads"),
    MediaFetchError: ("media_not_fetched", "its address was refused, or gave no whole medium"),
    UnsupportedMediaError: ("media_unsupported", "it is no medium of a kind that is read here"),
}


def media_refused(error: MediaError, param: str) -> ApiError:
    """The refusal of a medium at `param`, such as "messages[0].content[1]"."""
    code, reason = _MEDIA.get(type(error), ("media_unreadable", "it cannot be read"))
    if isinstance(error, MediaTooLargeError):
        reason = f"{reason}: {error.reason}"  # our own words and the medium's numbers
    return ApiError(400, f"{param}: {reason}", code=code, param=param)


def internal() -> ApiError:
    """Something is wrong with the server, and the log says what."""
    return ApiError(500, "the server could not answer this request", code="internal_error")
