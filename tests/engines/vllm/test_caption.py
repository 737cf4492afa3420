"""`videollama2 caption --engine vllm`: the rows that our own engine makes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(900)
CLIPS = Path(__file__).parents[2] / "starter" / "clips"


def rows(folder: Path, out: Path, *words: str) -> dict[str, dict[str, Any]]:
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "TORCH_COMPILE_DISABLE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "videollama2", "caption", str(folder), str(out), *words,
         "--dtype", "float32", "--max-new-tokens", "8", "--readers", "1",
         "--prompt", "What is heard?", "--prompt", "What is seen?"],
        capture_output=True, text=True, check=False, env=environment, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(found) == len({row["clip"] for row in found})
    return {row["clip"]: row for row in found}


def test_rows_are_those_of_our_own_engine(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for clip in sorted(CLIPS.glob("*.mp4"))[:6]:
        shutil.copy(clip, folder)
    (folder / "broken.mp4").write_bytes(b"no clip")
    by_vllm = rows(folder, tmp_path / "vllm.jsonl", "--engine", "vllm")
    assert len(by_vllm) == 7
    assert by_vllm["broken.mp4"]["failure"] == "unreadable"
    assert by_vllm == rows(folder, tmp_path / "own.jsonl")
