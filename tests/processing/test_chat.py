"""Conversations -> text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.processing.batch import split_placeholders
from videollama2.processing.chat import (
    MISTRAL_TEMPLATE,
    QWEN2_TEMPLATE,
    RELEASED_SYSTEM_TEXT,
    flatten,
)
from videollama2.processing.parts import AudioInput, ImageInput, VideoInput, part_from_message
from videollama2.processing.processor import VideoLlama2Processor

Make = Callable[..., VideoLlama2Processor]
VIDEO = {"type": "video", "path": "clip.mp4"}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_the_placeholder_stands_on_its_own_line_before_the_instruction() -> None:
    messages, media = flatten([user(VIDEO, text("What happens?"))])
    assert messages[0]["content"] == "<video>\nWhat happens?"
    assert media == [VideoInput("clip.mp4")]


def test_media_keep_their_order_among_the_text() -> None:
    parts = user(
        text("First"), VIDEO, {"type": "image", "url": "a.png"}, text("then"), {**VIDEO, "start": 2}
    )
    messages, media = flatten([parts, {"role": "assistant", "content": "Yes."}])
    assert messages[0]["content"] == "First\n<video>\n<image>\nthen\n<video>\n"
    assert messages[1]["content"] == "Yes."
    assert media == [VideoInput("clip.mp4"), ImageInput("a.png"), VideoInput("clip.mp4", start=2)]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"type": "smell", "path": "a"}, "type 'smell'"),
        ({"type": "video"}, "names one source"),
        ({"type": "video", "path": "a", "url": "b"}, "names one source"),
        ({"type": "image", "path": "a", "start": 1}, "does not know start"),
    ],
)
def test_parts_that_are_not_understood(block: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        part_from_message(block)


def test_the_openai_form_is_understood() -> None:
    block = {"type": "image_url", "image_url": {"url": "http://a/b.png"}}
    assert part_from_message(block) == ImageInput("http://a/b.png")
    assert part_from_message({"type": "audio_url", "audio_url": {"url": "c"}}) == AudioInput("c")
    video = {"type": "video", "url": "v.mp4", "num_frames": 4, "sound": False, "end": 3.5}
    assert part_from_message(video) == VideoInput("v.mp4", end=3.5, num_frames=4, sound=False)


def test_a_released_qwen2_prompt(make_processor: Make) -> None:
    processor = make_processor(template=None, media_mode="released")
    assert processor.chat_template == QWEN2_TEMPLATE
    found = processor.apply_chat_template([user(VIDEO, text("Q?"))], add_generation_prompt=True)
    assert found == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<video>\nQ?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_released_mistral_prompt(make_processor: Make) -> None:
    mistral = {
        "model_type": "mistral",
        "hidden_size": 16,
        "vocab_size": 260,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    processor = make_processor(template=None, media_mode="released", text_config=mistral)
    assert processor.chat_template == MISTRAL_TEMPLATE
    found = processor.apply_chat_template([user(VIDEO, text("Q?"))], add_generation_prompt=True)
    assert found == f"<s>[INST] {RELEASED_SYSTEM_TEXT}\n\n<video>\nQ? [/INST]"
    assert "safe.  Your" in found
    own = [{"role": "system", "content": "Be brief."}, user(text("Q?"))]
    assert processor.apply_chat_template(own) == "<s>[INST] Be brief.\n\nQ? [/INST]"
    refusing = "{{ raise_exception('no') if messages[0]['role'] == 'system' }}" + MISTRAL_TEMPLATE
    assert processor.apply_chat_template([user(text("Q?"))], refusing) == "<s>[INST] Q? [/INST]"


def test_no_template_and_templates_that_drop_media_are_errors(make_processor: Make) -> None:
    bare = make_processor(template=None)
    with pytest.raises(ValueError, match="chat template"):
        bare.apply_chat_template([user(text("Q?"))])
    with pytest.raises(ValueError, match="wrote 0 <video>"):
        bare.apply_chat_template([user(VIDEO)], "nothing")


@given(st.lists(st.sampled_from(["<video>", "<audio>", "<image>", "a", "<", "video>", "\n"])))
def test_splitting_loses_nothing(parts: list[str]) -> None:
    whole = "".join(parts)
    pieces = split_placeholders(whole)
    assert "".join(pieces) == whole
    assert all(pieces)
    assert sum(p in ("<video>", "<audio>", "<image>") for p in pieces) == sum(
        whole.count(t) for t in ("<video>", "<audio>", "<image>")
    )
