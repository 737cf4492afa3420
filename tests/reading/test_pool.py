"""The processes of a pool: all end with it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from videollama2.reading import pool as pools
from videollama2.reading.pool import ReaderLostError, ReaderPool


class Slow:
    """A process that is long in starting."""

    begun = threading.Event()
    may_go_on = threading.Event()
    ended = threading.Event()

    def __init__(self, *_: Any) -> None:
        Slow.begun.set()
        Slow.may_go_on.wait(20)

    def close(self) -> None:
        Slow.ended.set()


def test_a_process_that_is_being_started_when_its_pool_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "_Reader", Slow)
    pool = ReaderPool(None, readers=1)  # pyright: ignore[reportArgumentType]
    errors: list[BaseException] = []

    def start() -> None:
        try:
            pool.start_one()
        except ReaderLostError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    assert Slow.begun.wait(20)
    pool.close()
    Slow.may_go_on.set()
    thread.join(20)
    assert Slow.ended.is_set()
    assert errors
