"""Loading streams: memory stays near the size of the weights, in a process of its own."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "load_memory.py"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measured through /proc")
def test_peak_memory_is_at_most_a_tenth_above_the_weights(tmp_path: Path) -> None:
    """At this size the process's own small change (20 MB allowed) counts; at 2 GB it is lost."""
    spec = importlib.util.spec_from_file_location("load_memory", SCRIPT)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    folders = [tmp_path / "safetensors", tmp_path / "bin"]
    for folder in folders:
        asked = {"gigabytes": 0.34, "dtype": "bfloat16", "small_tower": True}
        benchmark.write_checkpoint(folder, argparse.Namespace(**asked, formats=[folder.name]))
    command = [sys.executable, SCRIPT, "--load-dtype", "float16", "--measure", *folders]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()[-2:]
    for measured in map(json.loads, lines):
        assert measured["weights_bytes"] > 200e6
        assert measured["peak_above_baseline_bytes"] <= 1.1 * measured["weights_bytes"] + 20e6
