"""Loading streams: memory stays near the size of the weights, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "load_memory.py"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measured through /proc")
@pytest.mark.parametrize(("kind", "load_dtype"), [("safetensors", "bfloat16"), ("bin", "float16")])
def test_peak_memory_is_at_most_a_tenth_above_the_weights(kind: str, load_dtype: str) -> None:
    """At this size the process's small change weighs ten times what it does at 2 GB."""
    command = [sys.executable, SCRIPT, "--gigabytes", "0.34", "--small-tower", "--formats", kind]
    done = subprocess.run(
        [*command, "--load-dtype", load_dtype], check=True, capture_output=True, text=True
    )
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["weights_bytes"] > 200e6
    assert measured["ratio"] <= 1.1 + 20e6 / measured["weights_bytes"]
