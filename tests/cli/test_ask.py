"""`videollama2 ask`: what reaches stdout and stderr, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from videollama2 import VideoLlama2
from videollama2.cli.main import app

SHORT = ("--max-new-tokens", "12", "--device", "cpu")


@pytest.fixture(scope="module")
def assistant(tiny_folder: Path) -> VideoLlama2:
    return VideoLlama2.from_pretrained(tiny_folder, device="cpu")


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ask(folder: Path, *arguments: Any) -> Any:
    return invoke("ask", *arguments, "--model", folder, *SHORT)


def test_the_answer_and_nothing_else(
    tiny_folder: Path, media_folder: Path, assistant: VideoLlama2
) -> None:
    clip = media_folder / "clip.mp4"
    done = ask(tiny_folder, clip, "who?")
    assert done.exit_code == 0, done.output
    assert done.stdout == assistant.ask("who?", video=str(clip), max_new_tokens=12) + "\n"
    assert done.stderr == ""


def test_json_is_one_object(tiny_folder: Path, media_folder: Path, assistant: VideoLlama2) -> None:
    clip, sound, picture = (media_folder / name for name in ("clip.mp4", "tone.wav", "picture.png"))
    done = ask(tiny_folder, clip, sound, picture, "who?", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    paths = [str(clip), str(sound), str(picture)]
    expected = assistant.ask("who?", media=paths, max_new_tokens=12)
    assert found["answer"] == expected
    assert found["model"] == str(tiny_folder)
    names = {"path", "kind", "duration_s", "frames", "sound_s"}
    assert all(set(medium) == names for medium in found["media"])
    assert [medium["path"] for medium in found["media"]] == paths
    assert [medium["kind"] for medium in found["media"]] == ["video", "audio", "image"]
    assert [medium["frames"] for medium in found["media"]] == [8, 0, 1]
    assert found["media"][0]["sound_s"] == pytest.approx(2.0, abs=0.1)
    assert found["prompt_tokens"] == expected.prompt_tokens
    assert found["generated_tokens"] == expected.generated_tokens
    assert {"load", "first_token", "total"} <= set(found["timings_ms"])


def test_words_alone(tiny_folder: Path) -> None:
    done = ask(tiny_folder, "two and two?", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["media"] == []


def test_options_reach_the_media(tiny_folder: Path, media_folder: Path) -> None:
    clip = media_folder / "clip.mp4"
    options = ("--num-frames", 4, "--start", 0.5, "--end", 1.5, "--json")
    medium = json.loads(ask(tiny_folder, clip, "who?", *options).stdout)["media"][0]
    assert medium["frames"] == 4
    assert medium["sound_s"] == pytest.approx(1.0, abs=0.05)
    deaf = json.loads(ask(tiny_folder, clip, "who?", "--no-sound", "--json").stdout)["media"][0]
    assert deaf["sound_s"] == 0


def test_a_seed_makes_drawing_repeatable(tiny_folder: Path) -> None:
    draws = [
        ask(tiny_folder, "who?", "--temperature", 2, "--top-p", 1, "--seed", seed).stdout
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_what_is_unusual_is_said_on_stderr(tiny_folder: Path, media_folder: Path) -> None:
    silent, cut = media_folder / "silent.mp4", media_folder / "cut.mkv"
    done = ask(tiny_folder, silent, "who?", "--json")
    assert json.loads(done.stdout)["media"][0]["sound_s"] == 0
    assert done.stderr == f"{silent}: It has no soundtrack.\n"
    partial = ask(tiny_folder, cut, "who?", "--allow-partial", "--json")
    assert partial.exit_code == 0
    assert json.loads(partial.stdout)["media"][0]["frames"] == 8
    assert str(cut) in partial.stderr


@pytest.mark.parametrize("extra", [(), ("--json",)])
@pytest.mark.parametrize("name", ["nothing.mp4", "empty.mp4", "garbage.mp4", "cut.mkv"])
def test_bad_media_exit_1_with_one_message(
    tiny_folder: Path, media_folder: Path, name: str, extra: tuple[str, ...]
) -> None:
    done = ask(tiny_folder, media_folder / "clip.mp4", media_folder / name, "who?", *extra)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert str(media_folder / name) in done.stderr


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--sound",), "silent.mp4"),
        (("--start", 9), "silent.mp4"),
        (("--start", 1.5, "--end", 0.5), "silent.mp4"),
    ],
)
def test_what_a_clip_does_not_have(
    tiny_folder: Path, media_folder: Path, options: tuple[Any, ...], what: str
) -> None:
    done = ask(tiny_folder, media_folder / "silent.mp4", "who?", *options)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert what in done.stderr


def test_a_model_that_is_not_there(tmp_path: Path, tiny_folder: Path) -> None:
    missing = tmp_path / "nowhere"
    done = ask(missing, "who?")
    assert (done.exit_code, done.stdout) == (1, "")
    assert str(missing) in done.stderr
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_folder.iterdir():
        whole = file.read_bytes()
        is_weights = file.suffix == ".safetensors"
        (broken / file.name).write_bytes(whole[: len(whole) // 2] if is_weights else whole)
    done = ask(broken, "who?")
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert str(broken) in done.stderr
    (broken / "config.json").write_text("{")
    done = ask(broken, "who?")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "config.json" in done.stderr


def test_wrong_usage_exits_2(tiny_folder: Path, media_folder: Path) -> None:
    clip = str(media_folder / "clip.mp4")
    for arguments, said in (
        (["ask"], "QUESTION"),
        (["ask", clip], clip),
        (["ask", "who?", clip], clip),
        (["ask", clip, " "], "question"),
        (["ask", clip, "who?", "--dtype", "float12"], "float12"),
        (["ask", clip, "who?", "--num-frames", "0"], "num-frames"),
        (["ask", clip, "who?", "--top-p", "1.5"], "top_p"),
        (["ask", clip, "who?", "--nonsense"], "nonsense"),
        (["ask", "who?", "--device", "nowhere", "--model", str(tiny_folder)], "nowhere"),
        (["nonsense"], "nonsense"),
    ):
        done = invoke(*arguments)
        assert done.exit_code == 2, arguments
        assert done.stdout == ""
        assert said in done.stderr
        assert "Traceback" not in done.stderr
