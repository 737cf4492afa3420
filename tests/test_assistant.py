"""`VideoLlama2`: the face for people, on a tiny random model and small real files."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videollama2 import Answer, CheckpointError, MediaError, Request, VideoLlama2
from videollama2.generation.settings import SamplingSettings
from videollama2.media.errors import NoAudioStreamError, TruncatedMediaError

SHORT = {"max_new_tokens": 12}


@pytest.fixture(scope="module")
def assistant(tiny_folder: Path) -> VideoLlama2:
    return VideoLlama2.from_pretrained(tiny_folder, device="cpu")


def test_an_answer_is_a_string_that_says_what_it_took(
    assistant: VideoLlama2, media_folder: Path
) -> None:
    path = str(media_folder / "clip.mp4")
    answer = assistant.ask("who?", video=path, **SHORT)
    assert isinstance(answer, str)
    assert answer == answer.text
    (report,) = answer.media
    assert (report.path, report.kind, report.frames) == (path, "video", 8)
    assert report.duration_s == pytest.approx(2.0, abs=0.1)
    assert report.sound_s == pytest.approx(2.0, abs=0.1)
    assert 0 < answer.generated_tokens <= 12
    video = assistant.model.config.video_token_id
    content = [{"type": "video", "path": path}, {"type": "text", "text": "who?"}]
    ids = assistant.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        return_dict=True,
        add_generation_prompt=True,
    )["input_ids"]
    assert answer.prompt_tokens == ids.shape[1]
    assert (ids == video).sum() == 16
    names = {"load", "read", "encode", "prefill", "first_token", "decode", "total"}
    assert set(answer.timings_ms) == names
    assert answer.timings_ms["first_token"] <= answer.timings_ms["total"]
    assert answer.timings_ms["load"] > 0


def test_it_answers_what_generate_answers(assistant: VideoLlama2, media_folder: Path) -> None:
    """Reading, placeholders, encoders and loop together, against transformers' own loop."""
    path = str(media_folder / "clip.mp4")
    content = [{"type": "video", "path": path}, {"type": "text", "text": "who?"}]
    inputs = assistant.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        return_dict=True,
        add_generation_prompt=True,
    )
    config = assistant.model.config
    media = [config.video_token_id, config.image_token_id, config.audio_token_id]
    out = assistant.model.generate(**inputs, do_sample=False, suppress_tokens=media, **SHORT)
    tokens = out[0, inputs["input_ids"].shape[1] :]
    expected = assistant.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    assert assistant.ask("who?", video=path, **SHORT) == expected


def test_kinds_are_found_out(assistant: VideoLlama2, media_folder: Path) -> None:
    names = ("clip.mp4", "picture.png", "tone.wav")
    paths = [str(media_folder / name) for name in names]
    answer = assistant.ask("what?", media=paths, **SHORT)
    assert [report.kind for report in answer.media] == ["video", "image", "audio"]
    video, image, audio = paths
    assert answer == assistant.ask("what?", video=video, image=image, audio=audio, **SHORT)


def test_arrays_and_bytes(assistant: VideoLlama2, media_folder: Path) -> None:
    frames = np.zeros((8, 40, 40, 3), np.uint8)
    answer = assistant.ask("what?", media=[frames], **SHORT)
    assert (answer.media[0].kind, answer.media[0].sound_s) == ("video", 0)
    data = (media_folder / "tone.wav").read_bytes()
    heard = assistant.ask("what?", media=[data], **SHORT)
    assert heard == assistant.ask("what?", audio=str(media_folder / "tone.wav"), **SHORT)


def test_sound_is_heard_left_out_or_insisted_on(assistant: VideoLlama2, media_folder: Path) -> None:
    clip, silent = str(media_folder / "clip.mp4"), str(media_folder / "silent.mp4")
    heard = assistant.ask("what?", video=clip, **SHORT)
    deaf = assistant.ask("what?", video=clip, sound=False, **SHORT)
    assert heard.prompt_tokens > deaf.prompt_tokens
    assert deaf.media[0].sound_s == 0
    without = assistant.ask("what?", video=silent, **SHORT)
    assert without.media[0].sound_s == 0
    assert "soundtrack" in without.notes[0]
    assert silent in without.notes[0]
    with pytest.raises(NoAudioStreamError, match="silent"):
        assistant.ask("what?", video=silent, sound=True)


def test_ranges_and_frames(assistant: VideoLlama2, media_folder: Path) -> None:
    clip = str(media_folder / "clip.mp4")
    answer = assistant.ask("what?", video=clip, start=0.5, end=1.0, num_frames=4, **SHORT)
    assert answer.media[0].frames == 4
    assert answer.media[0].sound_s == pytest.approx(0.5, abs=0.05)
    one = assistant.ask("what?", video=clip, num_frames=1, **SHORT)
    assert one.media[0].frames == 1
    assert any("doubled" in note for note in one.notes)


def test_pieces_make_the_answer(assistant: VideoLlama2, media_folder: Path) -> None:
    clip = str(media_folder / "clip.mp4")
    stream = assistant.stream("what?", video=clip, **SHORT)
    assert stream.media[0].frames == 8
    pieces = list(stream)
    assert len(pieces) > 1
    assert "".join(pieces) == stream.answer == assistant.ask("what?", video=clip, **SHORT)


def test_a_stream_can_be_left(assistant: VideoLlama2) -> None:
    stream = assistant.stream("what?", max_new_tokens=1000)
    first = next(stream)
    stream.close()
    assert stream.answer.startswith(first)
    assert stream.answer.finish_reason == "interrupted"
    assert stream.answer.generated_tokens < 1000
    assert list(stream) == []


def test_a_seed_makes_drawing_repeatable(assistant: VideoLlama2) -> None:
    def draw(seed: int) -> str:
        return assistant.ask("what?", temperature=1.5, top_p=1.0, seed=seed, max_new_tokens=20)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_broken_files_say_what_is_wrong(assistant: VideoLlama2, media_folder: Path) -> None:
    for name in ("nothing.mp4", "empty.mp4", "garbage.mp4"):
        with pytest.raises(MediaError, match=name):
            assistant.ask("what?", media=[str(media_folder / name)])
    cut = str(media_folder / "cut.mkv")
    with pytest.raises(TruncatedMediaError, match=r"cut\.mkv"):
        assistant.ask("what?", video=cut)
    answer = assistant.ask("what?", video=cut, allow_partial=True, **SHORT)
    assert answer.media[0].frames == 8
    assert any("cut" in note for note in answer.media[0].notes)


def test_a_batch_answers_each_as_if_alone(assistant: VideoLlama2, media_folder: Path) -> None:
    clip, other = str(media_folder / "clip.mp4"), str(media_folder / "other.mp4")
    requests: list[Any] = [
        "two and two?",
        {"question": "what is it?", "image": str(media_folder / "picture.png")},
        {"question": "broken?", "video": str(media_folder / "garbage.mp4")},
        {"question": "what is heard?", "audio": str(media_folder / "tone.wav")},
        {"question": "who?", "video": clip, "num_frames": 4, "sound": False},
        Request("and who?", video=other, settings=SamplingSettings(max_new_tokens=3)),
        {"question": "alike?", "media": [clip, other]},
    ]
    answers = assistant.batch(requests, batch_size=4, **SHORT)
    assert len(answers) == len(requests)
    assert isinstance(answers[2], MediaError)
    assert "garbage.mp4" in str(answers[2])
    for request, answer in zip(requests, answers, strict=True):
        if isinstance(answer, MediaError):
            continue
        fields = {"question": request} if isinstance(request, str) else request
        if isinstance(fields, Request):
            expected = assistant.ask(fields.question, video=other, max_new_tokens=3)
        else:
            expected = assistant.ask(**fields, **SHORT)
        assert answer == expected
        assert answer.media == expected.media
        assert answer.prompt_tokens == expected.prompt_tokens
    whole = assistant.batch(requests, batch_size=7, **SHORT)
    assert [str(answer) for answer in whole] == [str(answer) for answer in answers]


def test_a_batch_of_nothing_but_broken_files(assistant: VideoLlama2, media_folder: Path) -> None:
    path = str(media_folder / "empty.mp4")
    answers = assistant.batch([{"question": "a", "video": path}] * 2)
    assert [type(answer).__name__ for answer in answers] == ["EmptyMediaError"] * 2
    assert assistant.batch([]) == []


def test_requests_that_make_no_sense(assistant: VideoLlama2) -> None:
    with pytest.raises(ValueError, match="does not know vidoe"):
        assistant.batch([{"question": "a", "vidoe": "x"}])
    with pytest.raises(ValueError, match="has no question"):
        assistant.batch([{"video": "x"}])
    with pytest.raises(ValueError, match="batch_size"):
        assistant.batch(["a"], batch_size=0)
    with pytest.raises(ValueError, match="<video>"):
        assistant.ask("what is <video>?")


def test_a_conversation_longer_than_the_model_reads(assistant: VideoLlama2) -> None:
    with pytest.raises(ValueError, match=r"tokens long and this language model reads 2048"):
        assistant.ask("why? " * 500)


def test_tag_sound(assistant: VideoLlama2, media_folder: Path) -> None:
    path = str(media_folder / "tone.wav")
    tags = assistant.tag_sound(path, top=3)
    assert len(tags) == 3
    assert [value for _, value in tags] == sorted((value for _, value in tags), reverse=True)
    assert all(isinstance(label, int) and 0 <= value <= 1 for label, value in tags)
    assert len(assistant.tag_sound(path, top=100)) == 7
    config = assistant.model.config.audio_config
    config.id2label = {index: f"sound {index}" for index in range(7)}
    try:
        named = assistant.tag_sound(path, top=1)
    finally:
        config.id2label = None
    assert named[0][0] == f"sound {tags[0][0]}"


def test_places_and_numbers(tiny_folder: Path) -> None:
    assert VideoLlama2.from_pretrained(tiny_folder, device="cpu").model.dtype == torch.float32
    half = VideoLlama2.from_pretrained(tiny_folder, device="cpu", dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    assert isinstance(half.ask("what?", **SHORT), str)
    with pytest.raises(ValueError, match="'nowhere' is not here"):
        VideoLlama2.from_pretrained(tiny_folder, device="nowhere")
    frames = VideoLlama2.from_pretrained(tiny_folder, device="cpu", num_frames=4)
    clip = np.zeros((4, 40, 40, 3), np.uint8)
    assert frames.ask("what?", video=clip, **SHORT).media[0].frames == 4


def test_bfloat16_hears_and_sees(tiny_folder: Path, media_folder: Path) -> None:
    half = VideoLlama2.from_pretrained(tiny_folder, device="cpu", dtype="bfloat16")
    clip = str(media_folder / "clip.mp4")
    assert half.ask("what?", video=clip, **SHORT).media[0].sound_s > 1
    assert len(half.tag_sound(clip)) == 5


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        VideoLlama2.from_pretrained(tmp_path / "nowhere")


def test_answers_can_be_copied_and_pickled(assistant: VideoLlama2, media_folder: Path) -> None:
    answer = assistant.ask("what?", image=str(media_folder / "picture.png"), **SHORT)
    for same in (copy.deepcopy(answer), pickle.loads(pickle.dumps(answer))):
        assert isinstance(same, Answer)
        assert same == answer
        assert same.media == answer.media
        assert same.timings_ms == answer.timings_ms
