"""`videollama2 chat`, with turns piped in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from videollama2 import VideoLlama2
from videollama2.cli.main import app


@pytest.fixture(scope="module")
def assistant(tiny_folder: Path) -> VideoLlama2:
    return VideoLlama2.from_pretrained(tiny_folder, device="cpu")


def chat(folder: Path, lines: list[str], *arguments: Any) -> Any:
    options = ["--model", folder, "--max-new-tokens", 12, "--device", "cpu"]
    words = ["chat", *arguments, *options]
    return CliRunner().invoke(app, [str(word) for word in words], input="\n".join(lines) + "\n")


def test_turns_know_of_each_other(
    tiny_folder: Path, media_folder: Path, assistant: VideoLlama2
) -> None:
    clip, picture = str(media_folder / "clip.mp4"), str(media_folder / "picture.png")
    done = chat(tiny_folder, ["who?", f"/add '{picture}'", "and this?", "", "really?"], clip)
    assert done.exit_code == 0, done.output
    talk = assistant.chat()
    expected = [talk.ask("who?", media=[clip], max_new_tokens=12)]
    expected.append(talk.ask("and this?", media=[picture], max_new_tokens=12))
    expected.append(talk.ask("really?", max_new_tokens=12))
    assert done.stdout == "".join(f"{answer}\n" for answer in expected)
    assert f"{clip}: video, 8 frames, 2.0 s of sound" in done.stderr
    assert f"{picture}: image" in done.stderr


def test_commands(tiny_folder: Path, media_folder: Path, assistant: VideoLlama2) -> None:
    clip = media_folder / "clip.mp4"
    lines = ["who?", "/reset", "who?", "/help", "/dance", "/add", "/quit", "never asked"]
    done = chat(tiny_folder, lines, clip)
    assert done.exit_code == 0
    first = assistant.ask("who?", video=str(clip), max_new_tokens=12)
    second = assistant.ask("who?", max_new_tokens=12)
    assert done.stdout == f"{first}\n{second}\n"
    assert "/dance is not known" in done.stderr
    assert "/quit" in done.stderr


def test_a_broken_file_ends_nothing(
    tiny_folder: Path, media_folder: Path, assistant: VideoLlama2
) -> None:
    garbage = media_folder / "garbage.mp4"
    done = chat(tiny_folder, [f"/add {garbage}", "/add 'x", "what is <video>?", "who?"])
    assert done.exit_code == 0
    assert done.stdout == assistant.ask("who?", max_new_tokens=12) + "\n"
    assert str(garbage) in done.stderr
    assert "<video>" in done.stderr


def test_bad_media_to_begin_with_exit_1(tiny_folder: Path, media_folder: Path) -> None:
    done = chat(tiny_folder, ["who?"], media_folder / "garbage.mp4")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert str(media_folder / "garbage.mp4") in done.stderr
