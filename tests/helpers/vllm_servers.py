"""Servers with vLLM in processes of their own, which end with the test that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

STARTING_S, ENDING_S = 560, 240  # on a machine that has much else to do

# Without processes of the workers' own and without a C++ compiler, which take long to start, and
# on no cores in particular.
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "TORCH_COMPILE_DISABLE": "1",
}


@contextmanager
def running(
    words: Sequence[str], said: Path, is_ready: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """`python WORDS` once it is ready, writing into `said`; it and all it started end after."""
    with said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdout=file,
            stderr=file,
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + STARTING_S
        while not is_ready():
            assert process.poll() is None, said.read_text()[-3000:]
            assert time.monotonic() < deadline, said.read_text()[-3000:]
            time.sleep(0.5)
        yield process
        process.terminate()
        process.wait(ENDING_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(ENDING_S)
