"""A client of any OpenAI-compatible server: one chat completion at a time, patiently."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from videollama2.evaluation.errors import EvaluationError, ServerError

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_WAIT_S = 60.0
KEY_VARIABLE = "OPENAI_API_KEY"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Completion:
    """What a server wrote, and what it counted; `media`: what it took in, where it says so."""

    text: str
    prompt_tokens: int = 0
    generated_tokens: int = 0
    finish_reason: str = "stop"
    media: tuple[Mapping[str, Any], ...] = ()


class RequestRefusedError(ValueError):
    """The server does not take this one request (400, 413, 415, 422); others may pass."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(f"the server says {status}: {message}")
        self.status = status
        self.code = code


class _PassingError(Exception):
    """A reply that makes no sense and may the next time."""


class ChatClient:
    """Chat completions of one model on one server.

    `url` is the server's base ("http://localhost:8000/v1") or its chat completions address. `key`
    None takes it from OPENAI_API_KEY; it is sent and never kept. What passes (busy, down, silent
    for `timeout_s`, garbled) is tried again up to `attempts` times, at growing distances, as the
    server says where it says so. Safe to call from several threads.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        timeout_s: float = 120.0,
        attempts: int = 7,
        first_wait_s: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = _address(url)
        self.model = model
        self._attempts = attempts
        self._first_wait_s = first_wait_s
        self._sleep = sleep
        key = key if key is not None else os.environ.get(KEY_VARIABLE, "")
        self._library: Any = _http_library(url)
        self._http: Any = self._library.Client(
            timeout=timeout_s, headers={"Authorization": f"Bearer {key}"} if key else {}
        )

    def complete(self, messages: Sequence[Mapping[str, Any]], **settings: Any) -> Completion:
        """What the model answers; `settings` go into the request (temperature, max_tokens, ...).

        Raises:
            RequestRefusedError: the server does not take this request.
            ServerError: it cannot be reached, will not have us, or gives no sense, however often.
        """
        body = {"model": self.model, "messages": list(messages), **settings}

        def read(response: Any) -> Completion:
            self._check(response)
            try:
                return _completion(response.json())
            except (ValueError, KeyError, IndexError, TypeError):
                raise _PassingError("its reply is no chat completion") from None

        return self._patiently(lambda: self._http.post(self.url, json=body), read)

    def card(self) -> dict[str, Any]:
        """What the server's list of models (`GET /v1/models`) says of this model; {} if nothing.

        Raises:
            ServerError: it cannot be reached.
        """

        def read(response: Any) -> dict[str, Any]:
            try:
                listed: list[Any] = response.json()["data"]
                return next(dict(card) for card in listed if card["id"] == self.model)
            except (ValueError, KeyError, TypeError, StopIteration):
                return {}

        address = self.url.removesuffix("/chat/completions") + "/models"
        return self._patiently(lambda: self._http.get(address), read)

    def _patiently(self, send: Callable[[], Any], read: Callable[[Any], Result]) -> Result:
        """What `read` makes of a response, asked for again while things pass."""
        reason, wait_s = "", 0.0
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(
                    min(max(wait_s, self._first_wait_s * 2 ** (attempt - 1)), _LONGEST_WAIT_S)
                )
            wait_s = 0.0
            try:
                response = send()
                if response.status_code not in _PASSING:
                    return read(response)
                reason = f"it says {response.status_code}: {_message(response)}"
                wait_s = _asked_to_wait(response)
            except self._library.TransportError as error:
                reason = f"it cannot be reached ({type(error).__name__}: {error})"
            except _PassingError as error:
                reason = str(error)
        raise ServerError(
            self.url,
            f"{reason}, {self._attempts} times",
            "What is done is kept: run the same command again when the server is up",
        )

    def _check(self, response: Any) -> None:
        if response.status_code in (400, 413, 415, 422):
            raise RequestRefusedError(
                response.status_code, _message(response), str(_error(response).get("code", ""))
            )
        if response.status_code in (401, 403):
            raise ServerError(
                self.url,
                f"it says {response.status_code}: {_message(response)}",
                f"Set {KEY_VARIABLE} to a key that it takes",
            )
        if response.status_code >= 300:
            raise ServerError(
                self.url,
                f"it says {response.status_code}: {_message(response)}",
                "Give its address up to /v1, and a model that it serves",
            )


def _http_library(url: str) -> Any:
    try:
        import httpx2
    except ImportError:
        raise EvaluationError(
            url, "asking a server needs httpx2", "Run pip install 'videollama2[eval]'"
        ) from None
    return httpx2


def _address(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise EvaluationError(url, "this is no address", "Give one like http://localhost:8000/v1")
    plain = url.rstrip("/")
    return plain if plain.endswith("/chat/completions") else f"{plain}/chat/completions"


def _completion(value: Any) -> Completion:
    choice = value["choices"][0]
    text = choice["message"]["content"]
    if not isinstance(text, str):
        raise TypeError(text)
    usage: Any = value.get("usage") or {}
    return Completion(
        text,
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0),
        str(choice.get("finish_reason") or "stop"),
        _media(value.get("media")),
    )


def _media(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Our own server's reports, a field that OpenAI's form does not have."""
    listed = cast(list[Any], value) if isinstance(value, list) else []
    return tuple(cast(dict[str, Any], one) for one in listed if isinstance(one, dict))


def _message(response: Any) -> str:
    """What the server says is wrong, on one short line."""
    text = str(_error(response).get("message", response.text))
    return " ".join(text.split())[:300] or "nothing"


def _error(response: Any) -> dict[str, Any]:
    """The error object of a reply, wherever it stands; {} where there is none."""
    try:
        value: Any = json.loads(response.text)
    except ValueError:
        return {}
    if isinstance(value, dict):
        value = cast(dict[str, Any], value).get("error", value)
    if isinstance(value, str):
        return {"message": value}
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _asked_to_wait(response: Any) -> float:
    try:
        return min(max(float(response.headers.get("retry-after", 0)), 0.0), _LONGEST_WAIT_S)
    except ValueError:  # a date
        return 0.0
