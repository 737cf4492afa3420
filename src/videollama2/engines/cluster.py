"""Ray: found, connected to, left again. Its progress and logs stay off the screen."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

LOCAL = "local"
LOOK = "See Ray's logs (/tmp/ray/session_latest/logs), then say the same: it goes on"


class ClusterError(ValueError):
    """A cluster is not to be had, or fails; `str()` is "what: reason. remedy"."""

    def __init__(self, what: str, reason: str, remedy: str) -> None:
        super().__init__(f"{what}: {reason}. {remedy}")
        self.what = what
        self.reason = reason
        self.remedy = remedy


def library() -> Any:
    """Ray, with its libraries for data and training.

    Raises:
        ClusterError: it is not installed.
    """
    try:
        import_module("ray.data")
        import_module("ray.train")
    except ImportError:
        raise ClusterError(
            "Ray", "it is not in this environment", "Run pip install 'videollama2[ray]'"
        ) from None
    return import_module("ray")


@contextmanager
def connected(address: str) -> Generator[Any]:
    """Ray, connected to a cluster ("auto", HOST:PORT) or to a "local" one that is started.

    It is left again at the end, unless the caller was connected before.

    Raises:
        ClusterError: it is not installed, or there is no such cluster.
    """
    ray = library()
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        options["include_dashboard"] = False
    try:
        ray.init(address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ClusterError(
            f"Ray at {address}",
            first,
            "Name a cluster's address, or local for this machine; where it asks for a token, set "
            "RAY_AUTH_MODE=token",
        ) from error
    try:
        for handler in logging.getLogger("ray.data").handlers:
            if isinstance(handler, logging.StreamHandler):  # it writes files as well
                handler.setLevel(logging.CRITICAL)
        yield ray
    finally:
        ray.shutdown()
