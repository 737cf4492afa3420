"""The processes of a pool: how they start, and that all end with it."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
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


INTERRUPTED = """
import os, signal
from multiprocessing import forkserver, get_context
from videollama2.reading.pool import prepare
prepare()
os.kill(forkserver._forkserver._forkserver_pid, signal.SIGINT)
process = get_context("forkserver").Process(target=print, args=("it works",))
process.start()
process.join()
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="no fork server here"
)
def test_ctrl_c_is_for_us_alone() -> None:
    """A terminal sends it to all: what is still importing then says nothing, and goes on."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert (done.stderr, done.stdout) == ("", "it works\nTrue\n")
