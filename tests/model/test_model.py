from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from rows import padded, row
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from videollama2 import VideoLlama2Config, VideoLlama2ForConditionalGeneration
from videollama2.model.fusion import MediaTokenMismatchError
from videollama2.model.model import learned_positions
from videollama2.model.tokens import num_audio_tokens, num_video_tokens

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 300,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "mistral": {},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2": {},
    "qwen3": {},
    "llama": {},
    "gemma2": {"final_logit_softcapping": 30.0},
    "phi3": {},
    "cohere": {"logit_scale": 0.5},
    "granite": {"logits_scaling": 2.0},
    "phi": {},  # its output layer has a bias
}


@pytest.fixture
def model(tiny_model: VideoLlama2ForConditionalGeneration) -> VideoLlama2ForConditionalGeneration:
    tiny_model.zero_grad(set_to_none=True)
    return tiny_model.eval()


@torch.no_grad()
def test_any_mix_in_one_batch_equals_each_row_alone(model: Any) -> None:
    config = model.config
    videos = torch.randn(3, 8, 3, 28, 28)
    images = torch.randn(2, 3, 28, 28)
    sounds = torch.randn(3, 98, 128)
    rows = [
        (row(config, 40, "video", "audio", 41, "image", 42), [0], [0], [0]),
        (row(config, 43, 44, 45), [], [], []),
        (row(config, "audio", 46, "video", 47, "video", 48, 49), [1, 2], [], [1]),
        (row(config, "image", 50, "audio", 51), [], [1], [2]),
    ]
    together = model(
        **padded([ids for ids, *_ in rows]),
        pixel_values_videos=videos,
        pixel_values=images,
        input_features=sounds,
    ).logits
    for number, (ids, video, image, sound) in enumerate(rows):
        alone = model(
            input_ids=torch.tensor([ids]),
            pixel_values_videos=videos[video] if video else None,
            pixel_values=images[image] if image else None,
            input_features=sounds[sound] if sound else None,
        ).logits[0]
        torch.testing.assert_close(together[number, -len(ids) :], alone, atol=2e-4, rtol=2e-4)


@torch.no_grad()
def test_items_of_unequal_lengths(model: Any) -> None:
    clips = [torch.randn(8, 3, 28, 28), torch.randn(5, 3, 28, 28)]
    sounds, mask = torch.randn(2, 98, 128), torch.ones(2, 98, dtype=torch.bool)
    mask[1, 50:] = False
    videos = model.get_video_features(clips).pooler_output
    assert [len(v) for v in videos] == [num_video_tokens(model.config, t) for t in (8, 5)]
    torch.testing.assert_close(videos[1], model.get_video_features(clips[1][None]).pooler_output[0])
    heard = model.get_audio_features(sounds, mask).pooler_output
    alone = model.get_audio_features(sounds[1:, :50]).pooler_output[0]
    torch.testing.assert_close(heard[1], alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_an_image_is_num_frames_equal_frames(model: Any) -> None:
    image = torch.randn(1, 3, 28, 28)
    copies = image[:, None].expand(-1, model.config.num_frames, -1, -1, -1)
    torch.testing.assert_close(
        model.get_image_features(image).pooler_output,
        model.get_video_features(copies).pooler_output,
        atol=1e-5,
        rtol=1e-5,
    )


@torch.no_grad()
def test_released_mode_hears_padding(tiny_tokenizer: Any) -> None:
    config = tiny.build_config(tiny_tokenizer)
    config.audio_config.mask_padding = False
    model = VideoLlama2ForConditionalGeneration(config).eval()
    mask = torch.ones(1, 98, dtype=torch.bool)
    mask[:, 50:] = False
    tokens = model.get_audio_features(torch.randn(1, 98, 128), mask).pooler_output
    assert tokens.shape[1] == num_audio_tokens(config.audio_config, 98)


def test_mismatch_says_which(model: Any) -> None:
    ids = torch.tensor([row(model.config, 40, "video", 41)])
    with pytest.raises(MediaTokenMismatchError, match=r"video: 2 item\(s\)"):
        model(input_ids=ids, pixel_values_videos=torch.randn(2, 8, 3, 28, 28))
    with pytest.raises(MediaTokenMismatchError, match=r"audio: 1 item\(s\)"):
        model(
            input_ids=ids,
            pixel_values_videos=torch.randn(1, 8, 3, 28, 28),
            input_features=torch.randn(1, 98, 128),
        )
    with pytest.raises(MediaTokenMismatchError, match=r"video: 0 item\(s\)"):
        model(input_ids=ids)
    with pytest.raises(ValueError, match="exactly one"):
        model()


def test_a_model_without_ears_says_so(tiny_tokenizer: Any) -> None:
    deaf = VideoLlama2ForConditionalGeneration(tiny.build_config(tiny_tokenizer, audio_config=None))
    with pytest.raises(ValueError, match="no audio branch"):
        deaf.get_audio_features(torch.randn(1, 98, 128))
    with pytest.raises(ValueError, match="no audio branch"):
        deaf.tag_sound(torch.randn(1, 98, 128))


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_language_model_of_any_family(family: str, tiny_tokenizer: Any) -> None:
    """Text alone goes through exactly as through transformers' own class with those weights."""
    text = AutoConfig.for_model(family, **{**TEXT, **FAMILIES[family]})
    config = tiny.build_config(
        tiny_tokenizer,
        text_config=text,
        video_token_id=None,
        image_token_id=None,
        audio_token_id=None,
    )
    config.connector_config.hidden_size = 32
    model = VideoLlama2ForConditionalGeneration(config).eval()
    own = AutoModelForCausalLM.from_config(text).eval()
    own.get_decoder().load_state_dict(model.model.language_model.state_dict())
    own.get_output_embeddings().load_state_dict(model.lm_head.state_dict())
    ids = torch.randint(3, 300, (2, 9))
    torch.testing.assert_close(model(input_ids=ids).logits, own(input_ids=ids).logits)
    assert config.video_token_id == 300  # past the vocabulary, never looked up
    question = torch.tensor([row(config, 5, "video", "audio", 6)])
    answer = model.generate(
        input_ids=question,
        pixel_values_videos=torch.randn(1, 8, 3, 28, 28),
        input_features=torch.randn(1, 98, 128),
        max_new_tokens=4,
        min_new_tokens=4,
        do_sample=False,
    )
    assert answer.shape[1] == question.shape[1] + 4


@torch.no_grad()
def test_cached_steps_equal_one_pass(model: Any) -> None:
    ids = torch.tensor([row(model.config, 40, "video", 41, 42, 43, 44)])
    media = {"pixel_values_videos": torch.randn(1, 8, 3, 28, 28)}
    whole = model(input_ids=ids, **media).logits
    first = model(input_ids=ids[:, :-3], **media, use_cache=True)
    rest = model(input_ids=ids[:, -3:], past_key_values=first.past_key_values, use_cache=True)
    torch.testing.assert_close(rest.logits, whole[:, -3:], atol=1e-4, rtol=1e-4)
    last = model(input_ids=ids, **media, logits_to_keep=1).logits
    torch.testing.assert_close(last, whole[:, -1:])


@torch.no_grad()
def test_precomputed_features_stand_in_for_pixels(model: Any) -> None:
    ids = torch.tensor([row(model.config, 40, "video", "audio", 41)])
    video, sound = torch.randn(1, 8, 3, 28, 28), torch.randn(1, 98, 128)
    direct = model(input_ids=ids, pixel_values_videos=video, input_features=sound).logits
    features = {
        "video_features": model.get_video_features(video).pooler_output,
        "audio_features": model.get_audio_features(sound).pooler_output,
    }
    torch.testing.assert_close(model(input_ids=ids, **features).logits, direct)


def test_gradient_checkpointing_changes_nothing(model: Any) -> None:
    ids = torch.tensor([row(model.config, 40, "video", "audio", 41, 42)])
    inputs = {
        "input_ids": ids,
        "pixel_values_videos": torch.randn(1, 8, 3, 28, 28),
        "input_features": torch.randn(1, 98, 128),
        "labels": torch.where(ids < 200, ids, -100),
    }
    model.model.audio_tower.encoder.layer_drop = 0.0
    gradients = []
    for on in (False, True):
        model.train()
        model.gradient_checkpointing_enable() if on else model.gradient_checkpointing_disable()
        model.zero_grad(set_to_none=True)
        model(**inputs).loss.backward()
        gradients.append(
            {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        )
    model.gradient_checkpointing_disable()
    model.eval()
    assert gradients[0].keys() == gradients[1].keys()
    assert any("audio_tower" in name for name in gradients[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4)


def test_logits_of_learned_positions_alone(model: Any) -> None:
    """What is left out has no part in the loss: the same loss and gradients, few logits."""
    torch.manual_seed(0)
    ids = torch.randint(3, 200, (3, 12))
    labels = ids.masked_fill(torch.rand(ids.shape) < 0.6, -100)
    labels[2] = -100  # a row that teaches nothing
    keep = learned_positions(labels)
    found: list[tuple[Any, dict[str, torch.Tensor]]] = []
    for chosen in (0, keep):
        model.zero_grad()
        output = model(input_ids=ids, labels=labels, logits_to_keep=chosen, num_items_in_batch=7)
        output.loss.backward()
        named = model.named_parameters()
        found.append((output, {n: p.grad.clone() for n, p in named if p.grad is not None}))
    (whole, all_grads), (few, grads) = found
    assert few.logits.shape[0] == keep.sum() < labels.numel() / 2
    torch.testing.assert_close(few.logits, whole.logits[keep])
    torch.testing.assert_close(few.loss, whole.loss)
    torch.testing.assert_close(grads, all_grads)
    nothing = model(input_ids=ids, labels=ids * 0 - 100, logits_to_keep=ids < 0,
                    num_items_in_batch=1)  # fmt: skip
    assert nothing.loss.item() == 0.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision(dtype: torch.dtype, tiny_tokenizer: Any) -> None:
    model = tiny.build_model(tiny.build_config(tiny_tokenizer)).to(dtype).eval()
    ids = torch.tensor([row(model.config, 40, "video", "audio", 41)])
    logits = model(
        input_ids=ids,
        pixel_values_videos=torch.randn(1, 8, 3, 28, 28),
        input_features=torch.randn(1, 98, 128),
    ).logits
    assert logits.dtype == dtype
    assert logits.isfinite().all()


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@torch.no_grad()
def test_attention_implementation_is_honoured(implementation: str, tiny_folder: Path) -> None:
    model = VideoLlama2ForConditionalGeneration.from_pretrained(
        tiny_folder, attn_implementation=implementation
    )
    decoder_config = model.model.language_model.config
    assert decoder_config._attn_implementation == implementation
    assert model.model.vision_tower.config._attn_implementation == implementation


@torch.no_grad()
def test_saved_and_loaded_by_every_auto_class(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    ids = torch.tensor([row(model.config, 40, "video", 41)])
    video = torch.randn(1, 8, 3, 28, 28)
    expected = model(input_ids=ids, pixel_values_videos=video).logits
    assert isinstance(AutoConfig.from_pretrained(tmp_path), VideoLlama2Config)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, VideoLlama2ForConditionalGeneration)
    again = loaded(input_ids=ids, pixel_values_videos=video).logits
    torch.testing.assert_close(again, expected, atol=1e-4, rtol=1e-4)


def test_wrong_words_in_the_config() -> None:
    with pytest.raises(ValueError, match="cls_patch"):
        VideoLlama2Config(vision_feature_select="all")
    with pytest.raises(ValueError, match="native"):
        VideoLlama2Config(media_mode="old")


def test_config_round_trip(model: Any, tmp_path: Path) -> None:
    model.config.save_pretrained(tmp_path)
    again = VideoLlama2Config.from_pretrained(tmp_path)
    for part in ("vision_config", "audio_config", "text_config", "connector_config"):
        assert getattr(again, part).to_dict() == getattr(model.config, part).to_dict()
    assert again.video_token_id == model.config.video_token_id
