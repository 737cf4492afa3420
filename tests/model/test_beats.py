from __future__ import annotations

import pytest
import torch

from videollama2.model.beats import Beats, WeightNormConv


def tiny(**changes: object) -> Beats:
    settings: dict[str, object] = {
        "input_patch_size": 16,
        "patch_embedding_size": 8,
        "conv_pos": 16,
        "conv_pos_groups": 4,
        "num_buckets": 32,
        "max_distance": 64,
        "num_sound_classes": 5,
        **changes,
    }
    torch.manual_seed(0)
    return Beats(24, 2, 4, 48, **settings).eval()


def test_released_size() -> None:
    with torch.device("meta"):
        beats = Beats()
    assert sum(p.numel() for p in beats.parameters()) == 90_717_055
    # The released state dict lists the shared position bias once a layer: 252 entries.
    assert len(beats.state_dict()) == 252 - 11
    assert beats.num_tokens(2998, 128) == 1496


@torch.no_grad()
def test_padding_is_not_heard() -> None:
    beats = tiny()
    short, long = torch.randn(1, 53, 128), torch.randn(1, 98, 128)
    batch = torch.full((2, 98, 128), 1e3)  # loud rubbish where there is no sound
    batch[0, :53], batch[1] = short[0], long[0]
    mask = torch.zeros(2, 98, dtype=torch.bool)
    mask[0, :53], mask[1] = True, True
    together = beats(batch, mask)
    torch.testing.assert_close(together[:1, : beats.num_tokens(53, 128)], beats(short))
    torch.testing.assert_close(together[1:], beats(long))
    torch.testing.assert_close(
        beats.tag(batch, mask), torch.cat([beats.tag(short), beats.tag(long)])
    )


@torch.no_grad()
def test_padding_is_heard_without_a_mask() -> None:
    beats = tiny()
    silence = torch.nn.functional.pad(torch.randn(1, 64, 128), (0, 0, 0, 34))
    assert not torch.allclose(beats(silence)[:, :32], beats(silence[:, :64]), atol=1e-3)


def test_weight_norm_epsilon_is_the_released_one() -> None:
    conv = WeightNormConv(8, 4, 2)
    with torch.no_grad():
        conv.weight_v.mul_(1e-4)  # so small that the epsilon decides
    x = torch.randn(1, 8, 20)
    v = conv.weight_v.double()
    norm = (v.square().sum((0, 1), keepdim=True) + 1e-6).sqrt()
    weight = conv.weight_g.double() * v / norm
    expected = torch.nn.functional.conv1d(x.double(), weight, padding=2, groups=2)[..., :-1]
    torch.testing.assert_close(conv(x).double(), expected, atol=1e-6, rtol=1e-5)
    plain = torch.nn.functional.conv1d(
        x.double(),
        conv.weight_g.double() * v / v.norm(dim=(0, 1), keepdim=True),
        padding=2,
        groups=2,
    )[..., :-1]
    assert not torch.allclose(conv(x).double(), plain, rtol=1e-2)


@torch.no_grad()
def test_attention_as_the_released_code_writes_it() -> None:
    """Scores / 32, row maximum subtracted, times 32, gated bias added, softmax."""
    beats = tiny()
    attention = beats.encoder.layers[1].self_attn
    x = torch.randn(2, 11, 24)
    bias = torch.randn(4, 11, 11)
    heads = [p(x).view(2, 11, 4, 6).transpose(1, 2) for p in (attention.q_proj, attention.k_proj)]
    value = attention.v_proj(x).view(2, 11, 4, 6).transpose(1, 2)
    query, key = heads
    scores = (query / 6**0.5 / 32) @ key.transpose(2, 3)
    scores = (scores - scores.amax(-1, keepdim=True)) * 32
    gate = torch.sigmoid(attention.grep_linear(query).view(2, 4, 11, 2, 4).sum(-1))
    factor = gate[..., :1] * (gate[..., 1:] * attention.grep_a - 1) + 2
    weights = (scores + factor * bias).softmax(-1)
    expected = attention.out_proj((weights @ value).transpose(1, 2).reshape(2, 11, 24))
    for fused in (True, False):
        heard, _ = attention(x, bias, None, fused)
        torch.testing.assert_close(heard, expected, atol=1e-5, rtol=1e-5)


def test_position_buckets_against_transformers() -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    encoder = tiny().encoder
    distance = torch.arange(-200, 201)
    expected = T5Attention._relative_position_bucket(distance, True, 32, 64)
    assert torch.equal(encoder._bucket(distance), expected)


def test_gradient_decays_on_its_way_down() -> None:
    plain, decayed = tiny(layer_drop=0.0, layerwise_gradient_decay=1.0).train(), None
    decayed = tiny(layer_drop=0.0, layerwise_gradient_decay=0.5).train()
    x = torch.randn(1, 48, 128)
    for beats in (plain, decayed):
        beats(x).sum().backward()
    weights = [b.post_extract_proj.weight.grad for b in (plain, decayed)]
    torch.testing.assert_close(weights[1], weights[0] * 0.25)  # two layers


def test_too_short_a_sound() -> None:
    with pytest.raises(ValueError, match="shorter than one patch"):
        tiny()(torch.randn(1, 15, 128))


def test_no_tag_head() -> None:
    with pytest.raises(ValueError, match="tag head"):
        tiny(num_sound_classes=0).tag(torch.randn(1, 32, 128))
