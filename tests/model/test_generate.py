"""What transformers' GenerationTesterMixin checks of a model, with media in the prompt."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tiny
import torch
from rows import padded, row
from transformers import DynamicCache

from videollama2.model.fusion import MediaTokenMismatchError

NEW = 5
FIXED = {"max_new_tokens": NEW, "min_new_tokens": NEW}
GREEDY = {**FIXED, "do_sample": False}
BEAMS = {**GREEDY, "num_beams": 3}
STRATEGIES = {
    "greedy": GREEDY,
    "sample": {**FIXED, "do_sample": True, "num_return_sequences": 2},
    "beams": {**BEAMS, "num_return_sequences": 2},
    "beam sample": {**FIXED, "do_sample": True, "num_beams": 3, "num_return_sequences": 2},
}


@pytest.fixture(scope="module")
def model(tiny_tokenizer: Any) -> Any:
    return tiny.build_model(tiny.build_config(tiny_tokenizer), seed=3)


@pytest.fixture(scope="module")
def eager(model: Any) -> Any:
    """The same weights; attention that can be looked at."""
    same = copy.deepcopy(model)
    same.set_attn_implementation("eager")
    return same


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Batch:
    """Rows with two videos, with an image and a sound, with text alone, and with all three."""

    def __init__(self, config: Any) -> None:
        self.rows = [
            row(config, 40, "video", 41, "video", 42, 43),
            row(config, "image", 50, "audio", 51),
            row(config, 44, 45, 46),
            row(config, 47, "video", "audio", 48, "image", 49),
        ]
        self.held = [
            {"pixel_values_videos": [0, 1]},
            {"pixel_values": [0], "input_features": [0]},
            {},
            {"pixel_values_videos": [2], "pixel_values": [1], "input_features": [1]},
        ]
        self.media = {
            "pixel_values_videos": noise(3, 8, 3, 28, 28, seed=1),
            "pixel_values": noise(2, 3, 28, 28, seed=2),
            "input_features": 15 + 6 * noise(2, 98, 128, seed=3),
        }

    def inputs(self) -> dict[str, torch.Tensor]:
        ids = padded(self.rows)
        ids.pop("position_ids")
        return {**ids, **self.media}

    def alone(self, number: int) -> dict[str, torch.Tensor]:
        held = {name: self.media[name][items] for name, items in self.held[number].items()}
        return {"input_ids": torch.tensor([self.rows[number]]), **held}


@pytest.fixture
def batch(model: Any) -> Batch:
    return Batch(model.config)


def written(model: Any, inputs: dict[str, torch.Tensor], **settings: Any) -> list[list[int]]:
    """The new tokens of each answer."""
    sequences = model.generate(**inputs, **settings)
    start = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
    return sequences[:, start:].tolist()


@pytest.mark.parametrize("settings", [GREEDY, BEAMS], ids=["greedy", "beams"])
@pytest.mark.parametrize("use_cache", [True, False])
def test_a_padded_batch_answers_as_each_row_alone(
    model: Any, batch: Batch, settings: dict[str, Any], use_cache: bool
) -> None:
    together = written(model, batch.inputs(), **settings, use_cache=use_cache)
    alone = [written(model, batch.alone(number), **settings)[0] for number in range(4)]
    assert together == alone


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("use_cache", [True, False])
def test_what_each_strategy_returns(
    eager: Any, batch: Batch, strategy: str, use_cache: bool
) -> None:
    settings = STRATEGIES[strategy]
    inputs = batch.inputs()
    output = eager.generate(
        **inputs,
        **settings,
        use_cache=use_cache,
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
        output_hidden_states=True,
        output_attentions=True,
    )
    text = eager.config.text_config
    rows, prompt = inputs["input_ids"].shape
    answers = rows * settings.get("num_return_sequences", 1)
    running = rows * max(settings.get("num_beams", 1), settings.get("num_return_sequences", 1))
    assert output.sequences.shape == (answers, prompt + NEW)
    assert (output.sequences_scores.shape == (answers,)) if "num_beams" in settings else True
    assert [tuple(s.shape) for s in output.scores] == [(running, text.vocab_size)] * NEW
    assert [tuple(s.shape) for s in output.logits] == [(running, text.vocab_size)] * NEW
    for step, (states, maps) in enumerate(
        zip(output.hidden_states, output.attentions, strict=True)
    ):
        seen = prompt + step
        new = seen if step == 0 or not use_cache else 1
        assert [tuple(s.shape) for s in states] == [(running, new, text.hidden_size)] * 3
        heads = text.num_attention_heads
        assert [tuple(m.shape) for m in maps] == [(running, heads, new, seen)] * 2
    cache = output.past_key_values
    if not use_cache:
        assert cache is None
        return
    assert isinstance(cache, DynamicCache)
    assert cache.get_seq_length() == prompt + NEW - 1
    head = text.hidden_size // text.num_attention_heads
    shape = (running, text.num_key_value_heads, prompt + NEW - 1, head)
    assert {(tuple(layer.keys.shape), tuple(layer.values.shape)) for layer in cache.layers} == {
        (shape, shape)
    }


def test_several_answers_hear_and_see_their_own_row(model: Any, batch: Batch) -> None:
    """Drawing from the likeliest word alone, each of three answers is the greedy one."""
    once = written(model, batch.inputs(), **GREEDY)
    drawn = written(model, batch.inputs(), **FIXED, do_sample=True, top_k=1, num_return_sequences=3)
    assert drawn == [answer for answer in once for _ in range(3)]


def test_media_of_unequal_sizes_and_precomputed_go_with_their_rows(model: Any) -> None:
    config = model.config
    clips = [noise(8, 3, 28, 28, seed=5), noise(6, 3, 28, 28, seed=6), noise(8, 3, 28, 28, seed=7)]
    long = [config.video_token_id] * 16
    short = [config.video_token_id] * 12
    rows = [[40, *long, 41, *short, 42], [43, *long, 44]]
    inputs = {**padded(rows), "pixel_values_videos": clips}
    inputs.pop("position_ids")
    together = written(model, inputs, **BEAMS, num_return_sequences=2)
    first = {"input_ids": torch.tensor(rows[:1]), "pixel_values_videos": clips[:2]}
    second = {"input_ids": torch.tensor(rows[1:]), "pixel_values_videos": clips[2:]}
    alone = [written(model, one, **BEAMS, num_return_sequences=2) for one in (first, second)]
    assert together == alone[0] + alone[1]
    inputs["video_features"] = model.get_video_features(inputs.pop("pixel_values_videos"))[1]
    assert written(model, inputs, **BEAMS, num_return_sequences=2) == together


def test_encoders_run_once_a_medium_whatever_the_beams(model: Any, batch: Batch) -> None:
    seen: list[int] = []
    hook = model.model.vision_tower.register_forward_hook(
        lambda _, __, kwargs, ___: seen.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    written(model, batch.inputs(), **BEAMS)
    hook.remove()
    assert sorted(seen) == [2, 24]  # two images; three videos of eight frames


def test_an_item_across_two_rows_is_refused(model: Any) -> None:
    video = model.config.video_token_id
    ids = torch.tensor([[40, *[video] * 10], [*[video] * 6, 41, 42, 43, 44, 45]])
    clip = noise(1, 8, 3, 28, 28, seed=8)
    with pytest.raises(MediaTokenMismatchError, match=r"rows hold \[10, 6\]"):
        model(input_ids=ids, pixel_values_videos=clip)
    with pytest.raises(MediaTokenMismatchError, match=r"rows hold \[10, 6\]"):
        model.generate(input_ids=ids, pixel_values_videos=clip, **BEAMS)


def test_the_lookup_of_candidates_in_the_prompt_writes_the_greedy_answer(
    model: Any, batch: Batch
) -> None:
    for number in range(4):
        inputs = batch.alone(number)
        guessed = written(model, inputs, **GREEDY, prompt_lookup_num_tokens=2)
        assert guessed == written(model, inputs, **GREEDY)


@pytest.mark.parametrize("seed", [3, 4], ids=["twin", "stranger"])
def test_an_assistant_writes_the_greedy_answer(
    model: Any, batch: Batch, seed: int, tiny_tokenizer: Any
) -> None:
    assistant = tiny.build_model(tiny.build_config(tiny_tokenizer), seed=seed)
    assistant.generation_config.num_assistant_tokens = 3
    assistant.generation_config.num_assistant_tokens_schedule = "constant"
    for number in range(4):
        inputs = batch.alone(number)
        assisted = written(model, inputs, **GREEDY, assistant_model=assistant)
        assert assisted == written(model, inputs, **GREEDY)


@pytest.mark.parametrize("settings", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_embeddings_answer_as_ids(model: Any, batch: Batch, settings: dict[str, Any]) -> None:
    inputs = batch.inputs()
    expected = written(model, inputs, **settings)
    ids = inputs.pop("input_ids")
    apart = {**inputs, "inputs_embeds": model.get_input_embeddings()(ids)}
    assert written(model, apart, **settings) == expected
    features = model.model.encode_media(**batch.media)
    fused = {
        "attention_mask": inputs["attention_mask"],
        "inputs_embeds": model.model.embed(ids, features),
    }
    assert written(model, fused, **settings) == expected
    both = {**apart, "input_ids": ids}
    assert written(model, both, **settings) == expected


def test_a_placeholder_without_embedding_cannot_be_found(tiny_tokenizer: Any) -> None:
    ids = {f"{kind}_token_id": None for kind in tiny.KINDS}
    model = tiny.build_model(tiny.build_config(tiny_tokenizer, **ids))
    embeds = torch.zeros(1, 17, 32)
    with pytest.raises(ValueError, match="past the 262 embeddings"):
        model(inputs_embeds=embeds, pixel_values_videos=noise(1, 8, 3, 28, 28, seed=9))


def test_a_static_cache_answers_as_a_growing_one(model: Any, batch: Batch) -> None:
    expected = written(model, batch.inputs(), **GREEDY)
    static = written(
        model, batch.inputs(), **GREEDY, cache_implementation="static", disable_compile=True
    )
    assert static == expected


def test_an_answer_goes_on_from_its_cache(model: Any, batch: Batch) -> None:
    inputs = batch.inputs()
    whole = written(model, inputs, **GREEDY)
    part = {**GREEDY, "max_new_tokens": 2, "min_new_tokens": 2}
    begun = model.generate(**inputs, **part, return_dict_in_generate=True)
    added = begun.sequences.new_ones(4, 2)
    rest = {**GREEDY, "max_new_tokens": NEW - 2, "min_new_tokens": NEW - 2}
    ended = model.generate(
        input_ids=begun.sequences,
        attention_mask=torch.cat([inputs["attention_mask"], added], dim=1),
        past_key_values=begun.past_key_values,
        **rest,
    )
    assert ended[:, inputs["input_ids"].shape[1] :].tolist() == whole


def test_a_second_turn_brings_its_own_clip(model: Any, batch: Batch) -> None:
    inputs = batch.alone(3)
    first = model.generate(**inputs, **GREEDY, return_dict_in_generate=True)
    question = torch.tensor([row(model.config, 52, "video", 53)])
    ids = torch.cat([first.sequences, question], dim=1)
    clip = noise(1, 8, 3, 28, 28, seed=10)
    cached = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        past_key_values=first.past_key_values,
        pixel_values_videos=clip,
        **GREEDY,
    )
    inputs["pixel_values_videos"] = torch.cat([inputs["pixel_values_videos"], clip])
    assert model.generate(**{**inputs, "input_ids": ids}, **GREEDY).tolist() == cached.tolist()


def test_placeholders_are_never_written(model: Any, batch: Batch) -> None:
    media = torch.tensor(sorted(model.model.media_token_ids().values()))
    text = batch.alone(2)
    expected = written(model, text, **GREEDY, suppress_tokens=[7])

    def favour(_: Any, __: Any, logits: torch.Tensor) -> torch.Tensor:
        return logits.index_fill(-1, media, logits.max().item() + 9)

    hook = model.lm_head.register_forward_hook(favour)
    assert model(input_ids=text["input_ids"]).logits[0, -1].argmax() in media
    for settings in STRATEGIES.values():
        tokens = written(model, text, **settings, suppress_tokens=[7])
        assert not {*media.tolist(), 7} & {token for answer in tokens for token in answer}
    likeliest = {"do_sample": True, "top_k": 1, "suppress_tokens": [7]}
    drawn = written(model, text, **FIXED, **likeliest)
    hook.remove()
    assert drawn == expected


@torch.no_grad()
def test_logits_of_chosen_positions(model: Any, batch: Batch) -> None:
    inputs = batch.inputs()
    whole = model(**inputs).logits
    torch.testing.assert_close(model(**inputs, logits_to_keep=3).logits, whole[:, -3:])
    chosen = torch.tensor([0, 4, -1])
    torch.testing.assert_close(model(**inputs, logits_to_keep=chosen).logits, whole[:, chosen])


@torch.no_grad()
def test_a_mask_of_four_dimensions_packs_rows(model: Any, batch: Batch) -> None:
    """Two rows end to end, each looking at itself alone, as each by itself."""
    first, second = batch.alone(0), batch.alone(3)
    lengths = [len(batch.rows[0]), len(batch.rows[3])]
    segment = torch.repeat_interleave(torch.tensor([0, 1]), torch.tensor(lengths))
    mask = (segment[:, None] == segment[None, :]).tril()[None, None]
    packed = model(
        input_ids=torch.cat([first["input_ids"], second["input_ids"]], dim=1),
        attention_mask=mask,
        position_ids=torch.cat([torch.arange(length) for length in lengths])[None],
        pixel_values_videos=batch.media["pixel_values_videos"],
        pixel_values=second["pixel_values"],
        input_features=second["input_features"],
    ).logits[0]
    alone = torch.cat([model(**first).logits[0], model(**second).logits[0]])
    torch.testing.assert_close(packed, alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_forward_pass_is_one_graph(tiny_tokenizer: Any, batch: Batch) -> None:
    """Prompt with media and a step from the cache, traced whole, with the same numbers."""
    config = tiny.build_config(tiny_tokenizer)
    config.text_config.num_hidden_layers = config.audio_config.num_hidden_layers = 1
    config.text_config.layer_types = config.text_config.layer_types[:1]
    config.vision_feature_layer = 1
    model = tiny.build_model(config)
    torch.compiler.reset()
    traced = torch.compile(model.forward, backend="eager", fullgraph=True, dynamic=False)
    inputs = batch.alone(3)
    expected = model(**inputs, use_cache=True)
    output = traced(**inputs, use_cache=True)
    torch.testing.assert_close(output.logits, expected.logits)
    step = {"input_ids": torch.tensor([[60]]), "use_cache": True}
    longer = traced(**step, past_key_values=output.past_key_values)
    again = model(**step, past_key_values=expected.past_key_values)
    torch.testing.assert_close(longer.logits, again.logits)
