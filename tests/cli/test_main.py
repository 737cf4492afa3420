"""The command line as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "videollama2"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=250)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["ask", "--help"], ["chat", "-h"], ["convert", "-h"], ["ask"], ["x"]]
)
def test_help_and_wrong_usage_load_nothing_heavy(arguments: list[str]) -> None:
    words = [sys.executable, "-X", "importtime", "-m", "videollama2", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == (0 if "h" in arguments[-1] else 2)
    loaded = {
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    assert "typer" in loaded
    heavy = {"torch", "transformers", "numpy", "av", "PIL", "accelerate", "huggingface_hub"}
    assert not heavy & loaded


def test_help_teaches() -> None:
    done = run("ask", "--help")
    assert "Examples" in done.stdout
    assert 'videollama2 ask clip.mp4 "What is heard' in done.stdout


def test_version() -> None:
    from videollama2 import __version__

    assert run("--version").stdout == f"{__version__}\n"


def test_json_from_a_process(tiny_folder: Path, media_folder: Path) -> None:
    """Whatever other packages say when they are loaded does not reach stdout or stderr."""
    clip = media_folder / "clip.mp4"
    done = run("ask", clip, "who?", "--json", "--model", tiny_folder, "--max-new-tokens", 5)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["media"][0]["path"] == str(clip)
    assert done.stderr == ""


def test_ctrl_c_stops_cleanly(tiny_folder: Path) -> None:
    words = [*COMMAND, "ask", "who?", "--model", str(tiny_folder)]
    process = subprocess.Popen(
        [*words, "--max-new-tokens", "1000000", "--temperature", "3", "--top-p", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=100)
    assert process.returncode == 130
    assert b"Traceback" not in said
