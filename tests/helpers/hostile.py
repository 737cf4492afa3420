"""Work that crashes, hangs or fails, for processes that start afresh."""

from __future__ import annotations

import os
import signal
import time


def work(task: str) -> str:
    if task == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == "exit":
        os._exit(3)
    if task == "hang":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        time.sleep(600)
    if task == "raise":
        raise RuntimeError("no")
    return task.upper()
