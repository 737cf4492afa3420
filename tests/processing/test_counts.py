"""Counting without decoding, as vLLM's transformers backend asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from videollama2.processing.processor import VideoLlama2Processor


def frames(count: int) -> np.ndarray:
    return np.zeros((count, 30, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["native", "released"])
@pytest.mark.parametrize("count", [1, 3, 4, 9, 33])
def test_counts_told_from_sizes_are_those_of_the_real_thing(
    make_processor: Any, mode: str, count: int
) -> None:
    processor = make_processor(media_mode=mode)
    samples = np.zeros(count * 8_000, dtype=np.float32)
    inputs = processor(
        text="<video><image><audio>", videos=frames(count), images=frames(1)[0], audio=samples
    )
    told = processor._get_num_multimodal_tokens(
        image_sizes=[(30, 40)], video_sizes=[(count, 30, 40)], audio_lengths=[len(samples)]
    )
    found = {k: int((inputs["input_ids"] == i).sum()) for k, i in processor.token_ids.items()}
    assert told["num_video_tokens"] == [found["video"]]
    assert told["num_image_tokens"] == [found["image"]]
    assert told["num_audio_tokens"] == [found["audio"]]
    assert told["num_image_patches"] == [1]


def test_replacements_and_offsets_agree_with_the_ids(processor: VideoLlama2Processor) -> None:
    text = "a<audio>b<video>c"
    samples = [np.zeros(16_000, dtype=np.float32), np.zeros(32_000, dtype=np.float32)]
    inputs = processor(
        text=[text, text],
        videos=[frames(4), frames(6)],
        audio=samples,
        return_text_replacement_offsets=True,
        return_mm_token_type_ids=True,
    )
    for row, offsets in enumerate(inputs["text_replacement_offsets"]):
        assert [o["text"] for o in offsets] == ["<audio>", "<video>"]
        assert [text[slice(*o["span"])] for o in offsets] == ["<audio>", "<video>"]
        expanded = text
        for o in reversed(offsets):
            expanded = expanded[: o["span"][0]] + o["replacement"] + expanded[o["span"][1] :]
        assert [expanded[slice(*o["new_span"])] for o in offsets] == [
            o["replacement"] for o in offsets
        ]
        assert offsets[0]["replacement"] == processor.replace_audio_token(inputs, row)
        assert offsets[1]["replacement"] == processor.replace_video_token(inputs, row)
        kept = inputs["attention_mask"][row].bool()
        ids = processor.tokenizer.encode(expanded, add_special_tokens=False)
        assert inputs["input_ids"][row][kept].tolist() == ids
    types = inputs["mm_token_type_ids"]
    assert int((types == 3).sum()) == int((inputs["input_ids"] == processor.audio_token_id).sum())


def test_the_sub_processors_say_what_a_server_asks(processor: VideoLlama2Processor) -> None:
    assert processor.video_processor.size == {"height": 56, "width": 56}
    assert processor.feature_extractor.sampling_rate == 16_000
    assert processor.feature_extractor.chunk_length == 30.0
    assert processor.video_processor.model_input_names == ["pixel_values_videos"]
    assert "input_features_mask" in processor.model_input_names
