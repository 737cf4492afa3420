"""Turns: history kept, every clip encoded once, the cache used again."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from videollama2 import MediaError, VideoLlama2

SHORT = {"max_new_tokens": 12}


@pytest.fixture(scope="module")
def assistant(tiny_folder: Path) -> VideoLlama2:
    return VideoLlama2.from_pretrained(tiny_folder, device="cpu")


@pytest.fixture
def calls(assistant: VideoLlama2, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each encoder ran."""
    counted: Counter[str] = Counter()
    for tower in ("vision_tower", "audio_tower"):
        module = getattr(assistant.model.model, tower)
        inner = module.forward

        def forward(*args: Any, _of: Any = inner, _name: str = tower, **kwargs: Any) -> Any:
            counted[_name] += 1
            return _of(*args, **kwargs)

        monkeypatch.setattr(module, "forward", forward)
    return counted


def from_scratch(assistant: VideoLlama2, turns: list[tuple[list[str], str]]) -> list[str]:
    """Every answer with the whole conversation read anew by transformers' own loop."""
    messages: list[dict[str, Any]] = []
    answers: list[str] = []
    config = assistant.model.config
    media_ids = [config.video_token_id, config.image_token_id, config.audio_token_id]
    for media, question in turns:
        content: list[dict[str, Any]] = [
            {"type": "image" if path.endswith("png") else "video", "path": path} for path in media
        ]
        messages.append({"role": "user", "content": [*content, {"type": "text", "text": question}]})
        inputs = assistant.processor.apply_chat_template(
            messages, tokenize=True, return_dict=True, add_generation_prompt=True
        )
        out = assistant.model.generate(
            **inputs, do_sample=False, suppress_tokens=media_ids, **SHORT
        )
        tokens = out[0, inputs["input_ids"].shape[1] :]
        answers.append(assistant.tokenizer.decode(tokens, skip_special_tokens=True).strip())
        messages.append({"role": "assistant", "content": answers[-1]})
    return answers


def test_turns_answer_as_if_read_from_scratch_and_encode_once(
    assistant: VideoLlama2, media_folder: Path, calls: Counter[str]
) -> None:
    clip, picture = str(media_folder / "clip.mp4"), str(media_folder / "picture.png")
    turns = [([clip], "who?"), ([], "and then?"), ([picture], "and this?"), ([], "really?")]
    expected = from_scratch(assistant, turns)
    calls.clear()
    talk = assistant.chat()
    answers = [talk.ask(question, media=media, **SHORT) for media, question in turns]
    assert answers == expected
    assert len(set(answers)) == len(answers)
    assert calls == {"vision_tower": 2, "audio_tower": 1}
    assert answers[0].reused_tokens == 0
    for before, answer in pairwise(answers):
        assert answer.reused_tokens >= before.prompt_tokens - 1
    assert [len(answer.media) for answer in answers] == [1, 0, 1, 0]
    assert [report.kind for report in talk.media] == ["video", "image"]
    assert [message["role"] for message in talk.messages] == ["user", "assistant"] * 4


def test_media_are_added_on_the_way(assistant: VideoLlama2, media_folder: Path) -> None:
    clip, other = str(media_folder / "clip.mp4"), str(media_folder / "other.mp4")
    talk = assistant.chat()
    (report,) = talk.add(clip, sound=False)
    assert (report.path, report.sound_s) == (clip, 0)
    talk.add(video=other, num_frames=4)
    answer = talk.ask("alike?", **SHORT)
    assert [report.frames for report in answer.media] == [8, 4]
    again = assistant.chat()
    again.add(clip, sound=False)
    assert answer == again.ask("alike?", media=[other], num_frames=4, **SHORT)


def test_pieces_and_the_turn_are_kept(assistant: VideoLlama2, media_folder: Path) -> None:
    talk = assistant.chat()
    stream = talk.stream("what?", image=str(media_folder / "picture.png"), **SHORT)
    pieces = list(stream)
    assert "".join(pieces) == stream.answer
    assert len(talk.messages) == 2
    assert list(stream) == []
    assert len(talk.messages) == 2


def test_an_answer_broken_off_leaves_no_turn(assistant: VideoLlama2, media_folder: Path) -> None:
    clip = str(media_folder / "clip.mp4")
    talk = assistant.chat()
    stream = talk.stream("what?", video=clip, max_new_tokens=1000)
    next(stream)
    stream.close()
    assert talk.messages == []
    assert [report.path for report in talk.media] == [clip]
    answer = talk.ask("who?", **SHORT)  # the clip still waits for its question
    assert answer.reused_tokens > 0
    assert answer == assistant.chat().ask("who?", video=clip, **SHORT)


def test_ctrl_c_within_a_step_leaves_a_sound_conversation(
    assistant: VideoLlama2, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = assistant.chat()
    clip = str(media_folder / "clip.mp4")
    first = talk.ask("who?", video=clip, **SHORT)
    layer = assistant.model.model.language_model.layers[1]

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(layer, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            talk.ask("and?", **SHORT)
    assert len(talk.messages) == 2
    expected = from_scratch(assistant, [([clip], "who?"), ([], "and then?")])
    assert [first, talk.ask("and then?", **SHORT)] == expected


def test_a_broken_file_changes_nothing(assistant: VideoLlama2, media_folder: Path) -> None:
    talk = assistant.chat()
    with pytest.raises(MediaError, match="garbage"):
        talk.ask("what?", media=[str(media_folder / "clip.mp4"), str(media_folder / "garbage.mp4")])
    assert talk.media == ()
    assert talk.messages == []


def test_reset_forgets_the_turns_and_the_clip_is_still_at_hand(
    assistant: VideoLlama2, media_folder: Path
) -> None:
    talk = assistant.chat()
    first = talk.ask("who?", video=str(media_folder / "clip.mp4"), **SHORT)
    talk.add(str(media_folder / "other.mp4"))
    talk.reset()
    assert talk.messages == []
    assert talk.media == ()
    again = talk.ask("who?", video=str(media_folder / "clip.mp4"), **SHORT)
    assert again == first
    assert again.prompt_tokens == first.prompt_tokens
    assert again.reused_tokens == first.prompt_tokens - 1


def test_unknown_options_are_named(assistant: VideoLlama2) -> None:
    with pytest.raises(ValueError, match="sond"):
        assistant.chat().ask("what?", sond=True)
