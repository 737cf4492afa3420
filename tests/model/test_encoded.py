from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import tiny
import torch

MEDIA = {
    "video": ("pixel_values_videos", (2, 8, 3, 28, 28)),
    "image": ("pixel_values", (2, 3, 28, 28)),
    "audio": ("input_features", (2, 98, 128)),
}
# Of the tiny model's three vision layers two are read; width 16, sixteen patches a frame.
STATES = {"video": (2, 8, 16, 16), "image": (2, 16, 16), "audio": (2, 48, 24)}
ROWS = {"video": 16, "image": 2, "audio": 2}


@pytest.fixture
def model(tiny_tokenizer: Any) -> Any:
    return tiny.build_model(tiny.build_config(tiny_tokenizer))


def medium(kind: str) -> dict[str, torch.Tensor]:
    name, shape = MEDIA[kind]
    return {name: torch.randn(*shape, generator=torch.Generator().manual_seed(1))}


@pytest.mark.parametrize("kind", MEDIA)
@torch.no_grad()
def test_features_show_what_is_asked_for(model: Any, kind: str) -> None:
    model.set_attn_implementation("eager")
    encode = getattr(model, f"get_{kind}_features")
    plain = encode(**medium(kind))
    assert plain.last_hidden_state.shape == STATES[kind]
    assert plain.hidden_states is None
    assert plain.attentions is None
    full = encode(**medium(kind), output_hidden_states=True, output_attentions=True)
    torch.testing.assert_close(full.pooler_output, plain.pooler_output)
    assert len(full.hidden_states) == 3
    last = full.hidden_states[-1].reshape(STATES[kind])
    torch.testing.assert_close(last, plain.last_hidden_state)
    assert len(full.attentions) == 2
    for weights in full.attentions:
        assert weights.shape[0] == ROWS[kind]
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))


@pytest.mark.parametrize("kind", MEDIA)
@torch.no_grad()
def test_the_config_asks_as_the_caller_does(model: Any, kind: str) -> None:
    encode = getattr(model, f"get_{kind}_features")
    assert isinstance(encode(**medium(kind), return_dict=False), tuple)
    part = model.config.audio_config if kind == "audio" else model.config.vision_config
    part.output_hidden_states = True
    assert len(encode(**medium(kind)).hidden_states) == 3
    assert encode(**medium(kind), output_hidden_states=False).hidden_states is None
    model.config.return_dict = False
    assert isinstance(encode(**medium(kind)), tuple)


@torch.no_grad()
def test_clips_of_unequal_lengths_show_all_frames(model: Any) -> None:
    clips = [torch.randn(8, 3, 28, 28), torch.randn(5, 3, 28, 28)]
    output = model.get_video_features(clips, output_hidden_states=True)
    assert [tuple(states.shape) for states in output.last_hidden_state] == [
        (8, 16, 16),
        (5, 16, 16),
    ]
    assert [tuple(states.shape) for states in output.hidden_states] == [(13, 16, 16)] * 3


@torch.no_grad()
def test_eager_hears_as_fused_attention_does(model: Any) -> None:
    mask = torch.ones(2, 98, dtype=torch.bool)
    mask[1, 40:] = False
    fused = model.get_audio_features(**medium("audio"), input_features_mask=mask).pooler_output
    model.set_attn_implementation("eager")
    slow = model.get_audio_features(**medium("audio"), input_features_mask=mask).pooler_output
    for one, other in zip(fused, slow, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_attention_is_set_everywhere_without_a_warning(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    library = logging.getLogger("transformers")
    library.addHandler(caplog.handler)
    try:
        model.set_attn_implementation("eager")
        model.set_attn_implementation({"audio_config": "sdpa", "vision_config": "sdpa"})
    finally:
        library.removeHandler(caplog.handler)
    assert not caplog.records
    trunk = model.model
    assert trunk.vision_tower.config is model.config.vision_config
    assert trunk.audio_tower.config is model.config.audio_config
    parts = (trunk.vision_tower, trunk.audio_tower, trunk.language_model)
    assert [part.config._attn_implementation for part in parts] == ["sdpa", "sdpa", "eager"]


def test_where_the_language_model_flashes_beats_does_not(model: Any) -> None:
    tower = model.model.audio_tower
    assert tower.get_correct_attn_implementation("flash_attention_2") == "sdpa"
    assert tower.get_correct_attn_implementation(None) == "sdpa"
    with pytest.raises(ValueError, match="not supported"):
        tower.get_correct_attn_implementation("foo")


@torch.no_grad()
def test_the_whole_forward_pass_as_a_tuple(model: Any) -> None:
    ids = torch.tensor([[40, 41, 42]])
    for part in (model, model.model):
        named = part(input_ids=ids)
        assert torch.equal(part(input_ids=ids, return_dict=False)[0], named[0])
        same = copy.deepcopy(part)
        same.config.return_dict = False
        assert torch.equal(same(input_ids=ids)[0], named[0])
