"""A model of the real architecture, random and tiny, on miniatures: batches, media, failures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from miniatures import miniatures
from PIL import Image

from videollama2.assistant import VideoLlama2
from videollama2.evaluation.answering import Decoding
from videollama2.evaluation.errors import EvaluationError
from videollama2.evaluation.local import LocalModel
from videollama2.evaluation.registry import find
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.task import MediaFile, Question

SHORT = Decoding(6)


@pytest.fixture(scope="module")
def assistant(tiny_folder: Path) -> VideoLlama2:
    return VideoLlama2.from_pretrained(tiny_folder, device="cpu")


def asked_of(name: str, tmp_path: Path, *wanted: str) -> list[Question]:
    task, mini = find(name), miniatures()[name]
    data = mini.lay_out(tmp_path / name, task.folder)
    questions = read_questions(task, data, Choice(mini.split))
    return [one for one in questions if not wanted or one.id in wanted]


def test_answers_as_the_assistant_does(assistant: VideoLlama2, tmp_path: Path) -> None:
    """Batched with others, in a range, of frames, of sound: the answer is that of `ask`."""
    questions = asked_of(
        "mvbench",
        tmp_path,
        "Action Sequence 0",
        "Episodic Reasoning 0",
        "Moving Count 0",
        "Object Shuffle 1",
    )
    questions += asked_of("clotho_aqa", tmp_path, "0 0", "1 1")
    replies = LocalModel.of(assistant).answer(questions, SHORT)
    assert [reply.id for reply in replies] == [one.id for one in questions]
    for question, reply in zip(questions, replies, strict=True):
        medium = question.media[0]
        if medium.path is None:
            assert reply.failure is not None
            assert (reply.failure.kind, reply.answers) == ("missing", ())
            continue
        given: dict[str, Any] = {medium.kind: medium.path}
        if medium.kind == "video":
            given |= {"start": medium.start, "end": medium.end, "sound": False}
        alone = assistant.ask(question.prompts[0], max_new_tokens=6, **given)
        assert reply.answers == (alone.text,)
        assert reply.generated_tokens == alone.generated_tokens
        assert reply.prompt_tokens == alone.prompt_tokens
        assert reply.media[0]["frames"] == alone.media[0].frames
        assert set(reply.timings_ms) == {"read", "encode", "write"}


def test_a_clip_is_read_once_for_all_its_questions(
    assistant: VideoLlama2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[object] = []
    load = assistant.processor.load_media
    monkeypatch.setattr(
        assistant.processor, "load_media", lambda part: loads.append(part) or load(part)
    )
    model = LocalModel.of(assistant)
    questions = asked_of("clotho_aqa", tmp_path, "0 0", "1 1")
    model.answer(questions, SHORT)
    model.answer(questions, SHORT)
    assert len(loads) == 1


def test_two_prompts_are_asked_by_themselves(assistant: VideoLlama2, tmp_path: Path) -> None:
    question = asked_of("video_chatgpt", tmp_path, "consistency 0")[0]
    reply = LocalModel.of(assistant).answer([question], SHORT)[0]
    alone = [
        assistant.ask(prompt, video=question.media[0].path, sound=False, max_new_tokens=6).text
        for prompt in question.prompts
    ]
    assert list(reply.answers) == alone


def test_broken_media_and_ranges_past_the_end_are_rows_with_their_reason(
    assistant: VideoLlama2, media_folder: Path
) -> None:
    def question(name: str, **range_s: float) -> Question:
        return Question(name, ("?",), (MediaFile("video", name, media_folder / name, **range_s),))

    replies = LocalModel.of(assistant).answer(
        [
            question("clip.mp4"),
            question("garbage.mp4"),
            question("empty.mp4"),
            question("cut.mkv"),
            question("other.mp4", start=50.0, end=60.0),
            question("tone.wav"),
        ],
        SHORT,
    )
    assert replies[0].failure is None
    for reply in replies[1:]:
        assert reply.failure is not None
        assert reply.failure.kind == "unreadable"
        assert reply.id in reply.failure.reason
        assert reply.answers == ()


def test_broken_subtitles_are_a_row_too(assistant: VideoLlama2, tmp_path: Path) -> None:
    fine, broken, *_ = asked_of("videomme_subtitles", tmp_path)
    file = tmp_path / "broken.srt"
    file.write_bytes(b"\xff\x00 nothing")
    replies = LocalModel.of(assistant).answer([fine, replace(broken, subtitles=file)], SHORT)
    assert replies[0].failure is None
    assert replies[0].prompts[0].startswith("This video's subtitles are listed below:\nHello")
    assert replies[1].failure is not None
    assert replies[1].failure.kind == "unreadable"
    assert "broken.srt: no subtitles" in replies[1].failure.reason


def test_too_long_is_refused_and_touches_no_other(assistant: VideoLlama2) -> None:
    long = Question("long", ("word " * 3000,), ())
    replies = LocalModel.of(assistant).answer([long, Question("short", ("who?",), ())], SHORT)
    assert replies[0].failure is not None
    assert replies[0].failure.kind == "refused"
    assert replies[1].failure is None


def test_drawing_is_seeded_and_does_not_depend_on_the_batch(
    assistant: VideoLlama2, tmp_path: Path
) -> None:
    questions = asked_of("video_chatgpt", tmp_path, "generic 0", "generic 1", "temporal 0")
    warm = Decoding(8, 0.8, seed=3)
    together = [reply.answers for reply in LocalModel.of(assistant).answer(questions, warm)]
    alone = [LocalModel.of(assistant).answer([one], warm)[0].answers for one in questions]
    assert together == alone
    other = LocalModel.of(assistant).answer(questions, replace(warm, seed=4))
    assert together != [reply.answers for reply in other]


def test_memory_that_is_short_halves_the_batch(
    assistant: VideoLlama2, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LocalModel.of(assistant)
    whole = LocalModel._answer
    sizes: list[int] = []

    def answer(self: LocalModel, questions: list[Question], decoding: Decoding) -> Any:
        sizes.append(len(questions))
        if len(questions) > 2:
            raise torch.OutOfMemoryError("too large")
        return whole(self, questions, decoding)

    monkeypatch.setattr(LocalModel, "_answer", answer)
    questions = [Question(str(n), (f"who {n}?",), ()) for n in range(5)]
    replies = model.answer(questions, SHORT)
    assert [reply.id for reply in replies] == list("01234")
    assert sizes == [5, 2, 3, 1, 2]


def test_a_model_without_ears_is_told_at_once(assistant: VideoLlama2) -> None:
    model = LocalModel.of(assistant)
    model.check(find("clotho_aqa"))
    config = model._config
    deaf = LocalModel.of(assistant)
    deaf._config = type("Deaf", (), {"audio_config": None, "num_frames": config.num_frames})()
    deaf.check(find("mvbench"))
    with pytest.raises(EvaluationError, match="no audio branch"):
        deaf.check(find("clotho_aqa"))


def test_frames_of_a_folder_are_those_of_the_released_rule(
    assistant: VideoLlama2, tmp_path: Path
) -> None:
    """TVQA: three frames a second; 0.4 to 1.9 s are frames 0 to 4 of twelve, eight taken."""
    question = asked_of("mvbench", tmp_path, "Episodic Reasoning 0")[0]
    folder = question.media[0].path
    assert folder is not None
    for number, picture in enumerate(sorted(folder.iterdir())):
        Image.new("RGB", (28, 28), (20 * number, 0, 0)).save(picture.with_suffix(".png"))
        picture.unlink()
    from videollama2.media.video import read_video

    clip = read_video(folder, num_frames=8, start=0.4, end=1.9)
    assert clip.indices == (0, 1, 1, 2, 2, 3, 3, 4)
    reply = LocalModel.of(assistant).answer([question], SHORT)[0]
    assert reply.failure is None
    assert reply.media[0]["frames"] == 8
