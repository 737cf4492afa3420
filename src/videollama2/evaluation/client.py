"""A client of any OpenAI-compatible server: one chat completion at a time, patiently."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from videollama2.evaluation.errors import EvaluationError, ServerError

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_WAIT_S = 60.0
KEY_VARIABLE = "OPENAI_API_KEY"


@dataclass(frozen=True)
class Completion:
    """What a server wrote, and what it counted."""

    text: str
    prompt_tokens: int = 0
    generated_tokens: int = 0
    finish_reason: str = "stop"


class RequestRefusedError(ValueError):
    """The server does not take this one request (400, 413, 415, 422); others may pass."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the server says {status}: {message}")
        self.status = status


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
        reason, wait_s = "", 0.0
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(
                    min(max(wait_s, self._first_wait_s * 2 ** (attempt - 1)), _LONGEST_WAIT_S)
                )
            wait_s = 0.0
            try:
                response = self._http.post(self.url, json=body)
            except self._library.TransportError as error:
                reason = f"it cannot be reached ({type(error).__name__}: {error})"
                continue
            if response.status_code in _PASSING:
                reason = f"it says {response.status_code}: {_message(response)}"
                wait_s = _asked_to_wait(response)
                continue
            self._check(response)
            try:
                return _completion(response.json())
            except (ValueError, KeyError, IndexError, TypeError):
                reason = "its reply is no chat completion"
        raise ServerError(
            self.url,
            f"{reason}, {self._attempts} times",
            "What is done is kept: run the same command again when the server is up",
        )

    def _check(self, response: Any) -> None:
        if response.status_code in (400, 413, 415, 422):
            raise RequestRefusedError(response.status_code, _message(response))
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
    )


def _message(response: Any) -> str:
    """What the server says is wrong, on one short line."""
    text = str(response.text)
    try:
        value: Any = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, dict):
        error = cast(dict[str, Any], value).get("error", value)
        inner: Any = cast(dict[str, Any], error) if isinstance(error, dict) else {}
        text = str(inner.get("message", error))
    return " ".join(text.split())[:300] or "nothing"


def _asked_to_wait(response: Any) -> float:
    try:
        return min(max(float(response.headers.get("retry-after", 0)), 0.0), _LONGEST_WAIT_S)
    except ValueError:  # a date
        return 0.0
