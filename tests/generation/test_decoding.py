"""The decode loop, held to transformers' own `generate`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import families
import prompts
import pytest
import tiny
import torch
from transformers import AutoConfig

from videollama2.generation.batch import BatchRow, ContinuousBatch
from videollama2.generation.prefix import PrefixCache
from videollama2.generation.prompt import Prompt
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.slots import windows
from videollama2.generation.steps import grouped_attention
from videollama2.generation.stops import banned_token_ids
from videollama2.model.fusion import MediaTokenMismatchError

TWENTY = SamplingSettings(max_new_tokens=20)


def decode(
    model: Any, given: list[Prompt], settings: Any = TWENTY, **kwargs: Any
) -> list[list[int]]:
    return [row.tokens for row in run(model, given, settings, **kwargs)]


def run(model: Any, given: list[Prompt], settings: Any = TWENTY, **kwargs: Any) -> list[BatchRow]:
    each = settings if isinstance(settings, list) else [settings] * len(given)
    batch = ContinuousBatch(model, banned_ids=banned_token_ids(model), **kwargs)
    rows = [BatchRow(*pair) for pair in zip(given, each, strict=True)]
    for row in rows:
        batch.join([row])
    while batch.step():
        pass
    batch.close()
    return rows


def generate(model: Any, row: Prompt, **kwargs: Any) -> list[int]:
    """What transformers' own loop answers."""
    media = {
        f"{kind}_features": [medium.features for medium in row.media if medium.kind == kind]
        for kind in {medium.kind for medium in row.media}
    }
    settings = {"do_sample": False, "max_new_tokens": 20, "eos_token_id": None, **kwargs}
    out = model.generate(
        input_ids=torch.tensor([row.input_ids]),
        attention_mask=torch.ones(1, len(row), dtype=torch.long),
        suppress_tokens=sorted(banned_token_ids(model)),
        **media,
        **settings,
    )
    return out[0, len(row) :].tolist()


def test_greedy_equals_generate(tiny_model: Any, tiny_tokenizer: Any) -> None:
    for row in prompts.mixed(tiny_model, tiny_tokenizer):
        assert decode(tiny_model, [row]) == [generate(tiny_model, row)]


def test_batched_equals_one_by_one(tiny_model: Any, tiny_tokenizer: Any) -> None:
    rows = prompts.mixed(tiny_model, tiny_tokenizer)
    alone = [decode(tiny_model, [row])[0] for row in rows]
    assert len({tuple(tokens) for tokens in alone}) == len(rows)
    assert decode(tiny_model, rows) == alone
    assert decode(tiny_model, rows[::-1]) == alone[::-1]


def test_rows_that_end_early_leave_the_others_alone(tiny_model: Any, tiny_tokenizer: Any) -> None:
    rows = prompts.mixed(tiny_model, tiny_tokenizer)
    lengths = [1, 12, 2, 7, 3]
    settings = [SamplingSettings(max_new_tokens=length) for length in lengths]
    alone = [decode(tiny_model, [row])[0] for row in rows]
    expected = [tokens[:length] for tokens, length in zip(alone, lengths, strict=True)]
    assert decode(tiny_model, rows, settings) == expected


def test_a_stop_token_ends_a_row_and_is_left_out(tiny_model: Any, tiny_tokenizer: Any) -> None:
    row = prompts.mixed(tiny_model, tiny_tokenizer)[3]
    tokens = decode(tiny_model, [row])[0]
    place = next(place for place in range(1, 20) if tokens[place] not in tokens[:place])
    (ended,) = run(tiny_model, [row], stop_ids=frozenset({tokens[place]}))
    assert ended.tokens == tokens[:place]
    assert ended.finish_reason == "stop"
    assert generate(tiny_model, row, eos_token_id=tokens[place]) == tokens[: place + 1]


@pytest.mark.parametrize(
    "text_config",
    [
        {"model_type": "mistral", "sliding_window": 8},
        {"model_type": "gemma2", "sliding_window": 8, "head_dim": 8, "query_pre_attn_scalar": 8},
    ],
    ids=lambda config: config["model_type"],
)
def test_sliding_windows(tiny_tokenizer: Any, text_config: dict[str, Any]) -> None:
    base = tiny.build_config(tiny_tokenizer)
    inherited = base.text_config.to_dict()
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    names += ("num_key_value_heads", "vocab_size", "initializer_range")
    text = {name: inherited[name] for name in names} | text_config
    model = tiny.build_model(tiny.build_config(tiny_tokenizer, text_config=text))
    rows = prompts.mixed(model, tiny_tokenizer)
    alone = [generate(model, row) for row in rows]
    assert [decode(model, [row])[0] for row in rows] == alone
    assert decode(model, rows) == alone
    prefix = PrefixCache()
    assert decode(model, rows[3:4], prefix=prefix) == alone[3:4]
    assert len(prefix) > 8
    assert decode(model, rows[3:4], prefix=prefix) == alone[3:4]


def test_a_prefix_is_not_computed_again(tiny_model: Any, tiny_tokenizer: Any) -> None:
    clip, sound = prompts.video(tiny_model), prompts.audio(tiny_model)
    first = prompts.prompt(tiny_model, tiny_tokenizer, "see ", clip, sound, "\nwho?")
    answer = decode(tiny_model, [first])[0]
    longer = Prompt(
        (*first.input_ids, *answer, *tiny_tokenizer(" and then?").input_ids), first.media
    )
    prefix = PrefixCache()
    decode(tiny_model, [first], prefix=prefix)
    (again,) = run(tiny_model, [longer], prefix=prefix)
    assert again.reused_tokens == len(first) + len(answer) - 1
    assert again.tokens == decode(tiny_model, [longer])[0]


def test_the_same_words_about_another_clip_share_nothing_from_the_clip_on(
    tiny_model: Any, tiny_tokenizer: Any
) -> None:
    rows = [
        prompts.prompt(
            tiny_model, tiny_tokenizer, "see ", prompts.video(tiny_model, seed), "\nwho?"
        )
        for seed in (1, 2)
    ]
    assert rows[0].input_ids == rows[1].input_ids
    prefix = PrefixCache()
    decode(tiny_model, rows[:1], prefix=prefix)
    (again,) = run(tiny_model, rows[1:], prefix=prefix)
    assert again.reused_tokens == len("see ")
    assert again.tokens == decode(tiny_model, rows[1:])[0]


def test_a_prefix_may_end_within_a_medium(tiny_model: Any, tiny_tokenizer: Any) -> None:
    """A prompt that ends with its clip leaves the clip's last token to be run."""
    row = prompts.prompt(
        tiny_model, tiny_tokenizer, "see ", prompts.video(tiny_model), prompts.video(tiny_model, 5)
    )
    prefix = PrefixCache()
    first = decode(tiny_model, [row], prefix=prefix)
    (again,) = run(tiny_model, [row], prefix=prefix)
    assert again.reused_tokens == len(row) - 1
    assert [again.tokens] == first


def test_a_step_that_breaks_off_leaves_what_was_read(
    tiny_model: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = prompts.mixed(tiny_model, tiny_tokenizer)[0]
    expected = decode(tiny_model, [row])
    prefix = PrefixCache()
    batch = ContinuousBatch(tiny_model, prefix=prefix)
    batch.join([BatchRow(row, TWENTY)])
    batch.step()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        last = tiny_model.model.language_model.layers[-1]
        patch.setattr(type(last), "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            batch.step()
    assert len(prefix) == len(row)
    assert decode(tiny_model, [row], prefix=prefix) == expected


def test_a_seed_decides_alone(tiny_model: Any, tiny_tokenizer: Any) -> None:
    rows = prompts.mixed(tiny_model, tiny_tokenizer)
    drawn = SamplingSettings(max_new_tokens=20, temperature=1.5, top_p=1.0, seed=7)
    alone = [decode(tiny_model, [row], drawn)[0] for row in rows]
    assert decode(tiny_model, rows, drawn) == alone
    other = SamplingSettings(max_new_tokens=20, temperature=1.5, top_p=1.0, seed=8)
    assert decode(tiny_model, rows, other) != alone
    assert alone != [decode(tiny_model, [row])[0] for row in rows]


def test_placeholders_are_never_written(tiny_model: Any, tiny_tokenizer: Any) -> None:
    row = prompts.mixed(tiny_model, tiny_tokenizer)[0]
    banned = banned_token_ids(tiny_model)
    assert len(banned) == 3
    hot = SamplingSettings(max_new_tokens=600, temperature=100.0, top_p=1.0, seed=1)
    tokens = decode(tiny_model, [row], hot)[0]
    assert len(set(tokens)) > 200
    assert not banned & set(tokens)


def test_too_few_placeholders_are_an_error_that_counts(
    tiny_model: Any, tiny_tokenizer: Any
) -> None:
    whole = prompts.prompt(tiny_model, tiny_tokenizer, "a", prompts.video(tiny_model), "b")
    short = Prompt((whole.input_ids[0], *whole.input_ids[2:]), whole.media)
    with pytest.raises(MediaTokenMismatchError, match=r"video: .*\[16\] tokens.*\[15\]"):
        decode(tiny_model, [short])


@pytest.mark.parametrize("family", [*families.FAMILIES, "opt", "bloom", "gpt2"])
def test_language_models_of_every_family(tiny_tokenizer: Any, family: str) -> None:
    """Rows in slots, windows and caps and all; where slots do not do, rows apart."""
    if family in families.FAMILIES:
        config = families.config_of(family, tiny_tokenizer)
    else:
        plain = {"opt": {"ffn_dim": 48, "word_embed_proj_dim": 32}}.get(family, {})
        names = {**families.TEXT, **plain, "vocab_size": len(tiny_tokenizer)}
        text = AutoConfig.for_model(family, **names, eos_token_id=None, pad_token_id=0)
        config = tiny.build_config(tiny_tokenizer, text_config=text)
    model = tiny.build_model(config)
    rows = prompts.mixed(model, tiny_tokenizer)
    expected = [generate(model, row) for row in rows]
    slots = windows(model.model.language_model) is not None
    assert slots == (family != "bloom")
    if slots:
        assert decode(model, rows) == expected
    assert [decode(model, [row])[0] for row in rows] == expected


@pytest.mark.parametrize("lag", [1, 3])
def test_tokens_read_late_are_the_same(tiny_model: Any, tiny_tokenizer: Any, lag: int) -> None:
    """What is computed past a row's end is dropped."""
    rows = prompts.mixed(tiny_model, tiny_tokenizer)
    drawn = SamplingSettings(
        max_new_tokens=14, temperature=1.3, seed=5, repetition_penalty=1.2, top_k=9
    )
    lengths = [1, 12, 2, 7, 3]
    settings = [replace(drawn, max_new_tokens=length) for length in lengths]
    expected = decode(tiny_model, rows, settings, lag=0)
    assert decode(tiny_model, rows, settings, lag=lag) == expected
    stop = frozenset({decode(tiny_model, rows[:1])[0][5]})
    ended = run(tiny_model, rows, stop_ids=stop, lag=0)
    late = run(tiny_model, rows, stop_ids=stop, lag=lag)
    assert [row.tokens for row in late] == [row.tokens for row in ended]
    assert [row.finish_reason for row in late] == [row.finish_reason for row in ended]
    assert "stop" in {row.finish_reason for row in late}


def test_compiled_steps_give_the_same_tokens(tiny_model: Any, tiny_tokenizer: Any) -> None:
    rows = prompts.mixed(tiny_model, tiny_tokenizer)
    expected = decode(tiny_model, rows)
    assert decode(tiny_model, rows, compile_backend="eager") == expected
    parts = [*tiny_model.model.language_model.layers, tiny_model.lm_head]
    assert all(part._compiled_call_impl is None for part in parts)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_slots_under_every_attention(tiny_tokenizer: Any, attention: str) -> None:
    config = tiny.build_config(tiny_tokenizer)
    model = tiny.build_model(config)
    model.set_attn_implementation(attention)
    rows = prompts.mixed(model, tiny_tokenizer)
    assert decode(model, rows) == [generate(model, row) for row in rows]
    assert model.model.language_model.config._attn_implementation == attention


@pytest.mark.parametrize("heads_of_the_mask", [1, 4])
def test_grouped_attention_is_attention(heads_of_the_mask: int) -> None:
    """Heads that share keys, under one mask for all heads and (Doge's) one for each."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, heads, n, 8) for heads, n in ((4, 1), (2, 6), (2, 6)))
    mask = torch.randn(3, heads_of_the_mask, 1, 6)
    ours, _ = grouped_attention(torch.nn.Module(), query, key, value, mask, 0.5)
    repeated = [one.repeat_interleave(2, dim=1) for one in (key, value)]
    plain = torch.nn.functional.scaled_dot_product_attention(query, *repeated, mask, scale=0.5)
    torch.testing.assert_close(ours, plain.transpose(1, 2))


def test_many_questions_about_one_clip_read_it_once(tiny_model: Any, tiny_tokenizer: Any) -> None:
    clip = prompts.video(tiny_model)
    rows = [
        prompts.prompt(tiny_model, tiny_tokenizer, "see ", clip, f"\n{question}?")
        for question in ("who", "what", "where to")
    ]
    expected = [decode(tiny_model, [row])[0] for row in rows]
    prefix = PrefixCache()
    answered = run(tiny_model, rows, prefix=prefix)
    assert [row.tokens for row in answered] == expected
    before = len("see ") + len(clip.features) + len("\nwh")
    assert [row.reused_tokens for row in answered] == [0, before, before]


def test_a_full_prefix_cache_forgets_what_was_not_used(
    tiny_model: Any, tiny_tokenizer: Any
) -> None:
    rows = prompts.mixed(tiny_model, tiny_tokenizer)
    roomy = PrefixCache()
    for row in rows:
        decode(tiny_model, [row], prefix=roomy)
    small = PrefixCache(roomy.held_bytes // 2)
    for row in rows:
        assert decode(tiny_model, [row], prefix=small) == decode(tiny_model, [row])
        assert 0 < small.held_bytes <= roomy.held_bytes // 2
    none = PrefixCache(0)
    decode(tiny_model, rows[:1], prefix=none)
    assert none.held_bytes == len(none) == 0
