"""Saved and loaded again, by our class and by transformers' Auto classes, without torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer

from videollama2.processing import register
from videollama2.processing.parts import VideoInput
from videollama2.processing.processor import VideoLlama2Processor
from videollama2.processing.tokens import add_media_tokens, media_token_ids, settle_token_ids


def assert_same(first: VideoLlama2Processor, second: VideoLlama2Processor, clip: Path) -> None:
    message = [{"role": "user", "content": [{"type": "video", "path": str(clip)}, "What?"]}]
    a, b = (
        p.apply_chat_template(message, tokenize=True, return_dict=True, add_generation_prompt=True)
        for p in (first, second)
    )
    assert set(a) == set(b)
    for key in a:
        assert torch.equal(a[key], b[key]), key


@pytest.mark.parametrize("mode", ["native", "released"])
def test_round_trip(make_processor: Any, tmp_path: Path, clip: Path, mode: str) -> None:
    processor = make_processor(
        media_mode=mode,
        connector_config={"connector_type": "stc_connector", "downsample": [2, 1, 1]},
    )
    processor.save_pretrained(tmp_path / "saved")
    again = VideoLlama2Processor.from_pretrained(str(tmp_path / "saved"))
    assert again.media_mode == mode
    assert again.downsample == [2, 1, 1]
    assert again.token_ids == processor.token_ids
    assert again.video_processor.settings == processor.video_processor.settings
    assert_same(processor, again, clip)


def test_auto_processor_finds_it(
    processor: VideoLlama2Processor, make_config: Any, tmp_path: Path, clip: Path
) -> None:
    register()
    register()
    processor.save_pretrained(tmp_path)
    make_config().save_pretrained(tmp_path)
    again = AutoProcessor.from_pretrained(str(tmp_path))
    assert isinstance(again, VideoLlama2Processor)
    assert_same(processor, again, clip)
    ids = media_token_ids(AutoTokenizer.from_pretrained(str(tmp_path)))
    assert ids == processor.token_ids


def test_a_folder_of_something_else_says_so(
    processor: VideoLlama2Processor, tmp_path: Path
) -> None:
    processor.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "processor_config.json").write_text("{}")
    with pytest.raises(ValueError, match="image_processor"):
        VideoLlama2Processor.from_pretrained(str(tmp_path))


def test_wrong_parts_are_refused(processor: VideoLlama2Processor) -> None:
    with pytest.raises(TypeError, match="image_processor is a VideoLlama2VideoProcessor"):
        VideoLlama2Processor(processor.video_processor, tokenizer=processor.tokenizer)  # type: ignore[arg-type]


def test_placeholders_join_the_tokenizer_once(make_tokenizer: Any, make_config: Any) -> None:
    tokenizer = make_tokenizer()
    before = len(tokenizer)
    ids = add_media_tokens(tokenizer, make_config())
    assert ids == {"video": before, "image": before + 1, "audio": before + 2}
    assert add_media_tokens(tokenizer) == ids
    assert len(tokenizer) == before + 3
    assert tokenizer.encode("<audio>", add_special_tokens=False) == [ids["audio"]]


def test_a_tokenizer_smaller_than_the_model_keeps_the_configs_ids(
    make_tokenizer: Any, make_config: Any
) -> None:
    text = make_config().text_config.to_dict()
    config = make_config(text_config={**text, "vocab_size": 300})
    tokenizer = make_tokenizer()
    assert settle_token_ids(tokenizer, config) == {"video": 300, "image": 301, "audio": 302}
    assert media_token_ids(tokenizer) is None
    with pytest.raises(ValueError, match="ids from 260 on"):
        add_media_tokens(tokenizer, config)
    add_media_tokens(tokenizer)
    with pytest.raises(ValueError, match="the config says"):
        settle_token_ids(tokenizer, config)


def test_sub_processors_work_alone(processor: VideoLlama2Processor, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    single = processor.image_processor(picture)["pixel_values"]
    assert torch.equal(single[0], processor.load_media({"type": "image", "image": picture}).pixels)
    video = np.stack([picture] * 4)
    clips = processor.video_processor([video, video])["pixel_values_videos"]
    assert torch.equal(clips[1], processor.load_media(VideoInput(video)).pixels)
    sounds = [np.zeros(n, dtype=np.float32) for n in (8_000, 16_000)]
    features = processor.feature_extractor(sounds, sampling_rate=16_000)
    assert features["input_features"].shape == (2, 98, 128)
    assert features["input_features_mask"].sum(1).tolist() == [48, 98]
    with pytest.raises(ValueError, match="44100"):
        processor.feature_extractor(sounds, sampling_rate=44_100)
    processor.image_processor.save_pretrained(tmp_path)
    again = type(processor.image_processor).from_pretrained(tmp_path)
    assert again.settings == processor.image_processor.settings
