"""A served model as the answerer: what is sent over HTTP, and what comes of it."""

from __future__ import annotations

import base64
import io
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from chat_server import Says, chat_server, in_turn
from miniatures import miniatures

from videollama2.evaluation.answering import Decoding
from videollama2.evaluation.client import ChatClient
from videollama2.evaluation.endpoint import Endpoint, video_of_frames
from videollama2.evaluation.errors import ServerError
from videollama2.evaluation.registry import find
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.task import MediaFile, Question
from videollama2.media.sampling import uniform_indices
from videollama2.media.video import VideoClip, read_video

GREEDY = Decoding(64)


def client(url: str) -> ChatClient:
    return ChatClient(url, "peer", attempts=2, sleep=lambda s: None)


def data_of(part: dict[str, Any]) -> bytes:
    kind = part["type"]
    inner = part[kind]
    text = inner["data"] if kind == "input_audio" else inner["url"].partition("base64,")[2]
    return base64.b64decode(text)


def test_a_benchmark_through_a_server(tmp_path: Path) -> None:
    task, mini = find("mvbench"), miniatures()["mvbench"]
    data = mini.lay_out(tmp_path / "data", task.folder)
    wanted = ("Action Sequence 0", "Episodic Reasoning 0", "Moving Count 0", "Object Shuffle 0")
    questions = [one for one in read_questions(task, data, Choice()) if one.id in wanted]
    with chat_server(in_turn([Says("(C) Not sure")])) as server:
        replies = Endpoint(client(server.url), num_frames=4).answer(questions, GREEDY)
    assert [reply.id for reply in replies] == [one.id for one in questions]
    by_id = {reply.id: reply for reply in replies}
    assert by_id["Moving Count 0"].failure is not None
    assert all(reply.answers == ("(C) Not sure",) for reply in replies if reply.failure is None)
    assert by_id["Action Sequence 0"].generated_tokens == 3
    assert len(server.requests) == 3
    for request in server.requests:
        assert (request["model"], request["temperature"], request["max_tokens"]) == ("peer", 0, 64)
        assert "seed" not in request
        video, text = request["messages"][0]["content"]
        assert text["text"] in {one.prompts[0] for one in questions}
        assert video["type"] == "video_url"
        file = tmp_path / "sent.mp4"
        file.write_bytes(data_of(video))
        clip = read_video(file, num_frames=4)
        assert clip.indices == (0, 1, 2, 3)


def test_frames_arrive_as_they_were_sampled(media_folder: Path, tmp_path: Path) -> None:
    """Sent are the released rule's frames of the range, as far apart as they were."""
    sent = read_video(media_folder / "clip.mp4", num_frames=8, start=0.5, end=1.8)
    file = tmp_path / "sent.mp4"
    file.write_bytes(video_of_frames(sent))
    with av.open(str(file)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        rate = float(container.streams.video[0].average_rate)
    assert len(frames) == 8
    assert uniform_indices(8, 8) == list(range(8))
    span = sent.timestamps_s[-1] - sent.timestamps_s[0]
    assert rate == pytest.approx(7 / span, rel=0.01)
    for ours, theirs in zip(sent.frames, frames, strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 3
    one = video_of_frames(read_video(media_folder / "clip.mp4", num_frames=1))
    assert len(one) > 500


@pytest.mark.parametrize("count", [1, 2, 8, 16, 33])
def test_our_server_gets_frames_without_loss(count: int, tmp_path: Path) -> None:
    """Read back by the released rule they are the same frames to the bit, odd sides too."""
    random = np.random.default_rng(count)
    frames = [random.integers(0, 256, (37, 51, 3), dtype=np.uint8) for _ in range(count)]
    clip = VideoClip("x", frames, tuple(range(count)), tuple(np.arange(count) * 7.5), 24.0, 900.0)
    file = tmp_path / "sent.mp4"
    file.write_bytes(video_of_frames(clip, lossless=True))
    back = read_video(file, num_frames=count)
    assert back.indices == tuple(range(count))
    for sent, got in zip(frames, back.frames, strict=True):
        assert np.array_equal(sent, got)


def test_our_server_gets_files_as_they_are_and_their_ranges(media_folder: Path) -> None:
    clip = media_folder / "clip.mp4"
    media = [
        MediaFile("video", "clip.mp4", clip, 0.5, 1.5, sound=None),
        MediaFile("video", "clip.mp4", clip, 0.5, 1.5),
        MediaFile("audio", "clip.mp4", clip, end=1.0),
    ]
    with chat_server(in_turn([Says("ok")])) as server:
        answerer = Endpoint(client(server.url), 4, ours=True)
        for number, medium in enumerate(media):
            asked = Question(str(number), ("?",), (medium,))
            assert answerer.answer([asked], GREEDY)[0].notes == ()
    heard, silent, sound = (one["messages"][0]["content"][0] for one in server.requests)
    assert data_of(heard) == data_of(sound) == clip.read_bytes()
    assert {name: heard[name] for name in ("start", "end", "num_frames")} == {
        "start": 0.5, "end": 1.5, "num_frames": 4,
    }  # fmt: skip
    assert "sound" not in heard
    assert (silent["num_frames"], "start" in silent) == (4, False)
    assert (sound["end"], "start" in sound, "num_frames" in sound) == (1.0, False, False)


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 4200 tokens",
        "max_tokens is too large: 64. This model supports at most 32 completion tokens",
    ],
)
def test_a_server_without_room_for_the_longest_answer(words: str) -> None:
    """Asked once more without that limit, and from then on without; every reply says so."""

    def script(request: dict[str, Any]) -> Says:
        return Says(status=400, body=words) if "max_tokens" in request else Says("ok")

    with chat_server(script) as server:
        answerer = Endpoint(client(server.url))
        replies = [answerer.answer([Question(q, ("?",), ())], GREEDY)[0] for q in "ab"]
    assert [reply.answers for reply in replies] == [("ok",), ("ok",)]
    assert all("no room for 64 tokens" in reply.notes[0] for reply in replies)
    assert ["max_tokens" in one for one in server.requests] == [True, False, False]


def test_sounds_and_whole_clips(media_folder: Path) -> None:
    def question(kind: Any, name: str, **more: Any) -> Question:
        return Question(name, ("?",), (MediaFile(kind, name, media_folder / name, **more),))

    asked = [
        question("audio", "tone.wav"),
        question("audio", "clip.mp4", start=0.5, end=1.5),
        question("video", "clip.mp4", sound=None),
    ]
    with chat_server(in_turn([Says("ok")])) as server:
        answerer = Endpoint(client(server.url))
        for one in asked:
            assert answerer.answer([one], GREEDY)[0].failure is None
    parts = [request["messages"][0]["content"][0] for request in server.requests]
    assert data_of(parts[0]) == (media_folder / "tone.wav").read_bytes()
    with wave.open(io.BytesIO(data_of(parts[1]))) as sound:
        assert sound.getframerate() == 16_000
        assert sound.getnframes() == pytest.approx(16_000, abs=200)
    assert data_of(parts[2]) == (media_folder / "clip.mp4").read_bytes()


def test_failures(media_folder: Path) -> None:
    broken = MediaFile("video", "garbage.mp4", media_folder / "garbage.mp4")
    questions = [Question("broken", ("?",), (broken,)), Question("fine", ("?",), ())]
    with chat_server(in_turn([Says(status=400, body="too many frames")])) as server:
        replies = Endpoint(client(server.url)).answer(questions, GREEDY)
    kinds = [reply.failure.kind for reply in replies if reply.failure]
    assert kinds == ["unreadable", "refused"]
    assert "too many frames" in replies[1].failure.reason
    with (
        chat_server(in_turn([Says(status=500)])) as server,
        pytest.raises(ServerError, match="run the same command"),
    ):
        Endpoint(client(server.url)).answer(questions, GREEDY)


def test_drawing_is_seeded() -> None:
    with chat_server(in_turn([Says("x")])) as server:
        Endpoint(client(server.url)).answer([Question("q", ("?",), ())], Decoding(9, 0.2, seed=5))
    request = server.requests[0]
    assert (request["temperature"], request["top_p"], request["seed"]) == (0.2, 0.9, 5)
