"""The decode loop, held to transformers' own `generate`."""

from __future__ import annotations

from typing import Any

import prompts
import pytest
import tiny
import torch

from videollama2.generation.prefix import PrefixCache
from videollama2.generation.prompt import Prompt
from videollama2.generation.run import DecodingRun
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.stops import banned_token_ids
from videollama2.model.fusion import MediaTokenMismatchError

TWENTY = SamplingSettings(max_new_tokens=20)


def decode(
    model: Any, rows: list[Prompt], settings: Any = TWENTY, **kwargs: Any
) -> list[list[int]]:
    each = settings if isinstance(settings, list) else [settings] * len(rows)
    run = DecodingRun(model, rows, each, banned_ids=banned_token_ids(model), **kwargs)
    while run.step():
        pass
    run.close()
    return [row.tokens for row in run.rows]


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
    run = DecodingRun(
        tiny_model,
        [row],
        [TWENTY],
        stop_ids=frozenset({tokens[place]}),
        banned_ids=banned_token_ids(tiny_model),
    )
    while run.step():
        pass
    assert run.rows[0].tokens == tokens[:place]
    assert run.rows[0].finish_reason == "stop"
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
    run = DecodingRun(
        tiny_model, [longer], [TWENTY], prefix=prefix, banned_ids=banned_token_ids(tiny_model)
    )
    while run.step():
        pass
    assert run.reused_tokens == len(first) + len(answer) - 1
    assert run.rows[0].tokens == decode(tiny_model, [longer])[0]


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
    run = DecodingRun(
        tiny_model, rows[1:], [TWENTY], prefix=prefix, banned_ids=banned_token_ids(tiny_model)
    )
    while run.step():
        pass
    assert run.reused_tokens == len("see ")
    assert run.rows[0].tokens == decode(tiny_model, rows[1:])[0]


def test_a_prefix_may_end_within_a_medium(tiny_model: Any, tiny_tokenizer: Any) -> None:
    """A prompt that ends with its clip leaves the clip's last token to be run."""
    row = prompts.prompt(
        tiny_model, tiny_tokenizer, "see ", prompts.video(tiny_model), prompts.video(tiny_model, 5)
    )
    prefix = PrefixCache()
    first = decode(tiny_model, [row], prefix=prefix)
    run = DecodingRun(
        tiny_model, [row], [TWENTY], prefix=prefix, banned_ids=banned_token_ids(tiny_model)
    )
    while run.step():
        pass
    assert run.reused_tokens == len(row) - 1
    assert [run.rows[0].tokens] == first


def test_a_step_that_breaks_off_leaves_no_cache(
    tiny_model: Any, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = prompts.mixed(tiny_model, tiny_tokenizer)[0]
    prefix = PrefixCache()
    run = DecodingRun(tiny_model, [row], [TWENTY], prefix=prefix)
    run.step()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(tiny_model), "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.step()
    run.close()
    assert len(prefix) == 0


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


def test_there_must_be_a_prompt(tiny_model: Any) -> None:
    for rows in ([], [Prompt(())]):
        with pytest.raises(ValueError, match="no prompt"):
            DecodingRun(tiny_model, rows, [TWENTY] * len(rows))
