"""Packed rows learn what padded rows learn, in every family, whatever lies beside a record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import families
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from processes import Job, launch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import flash_attention_mask

from videollama2.checkpoints.load import load_processor
from videollama2.model.packing import flash_arguments, is_packed, sequence_starts
from videollama2.training.collate import COUNTED, SKIPPED, Collator, Row, RowMaker, pad_id_of
from videollama2.training.errors import TrainingError
from videollama2.training.labels import IGNORED, ChatEncoder
from videollama2.training.packing import Packing, check_separate
from videollama2.training.parts import recompute_layers
from videollama2.training.recipe_file import load_recipe
from videollama2.training.records import record_from
from videollama2.training.run import train

KINDS = {".mp4": "video", ".wav": "audio", ".png": "image"}
# Seen and heard, a picture, words, a sound, seen alone, words of one token.
NAMES = ("clip.mp4", "picture.png", "", "tone.wav", "silent.mp4", "other.mp4", "")
ATTENTION = [
    (family, attention)
    for family in families.FAMILIES
    for attention in ("eager", "sdpa", "varlen_reference")
    if (family, attention) != ("gemma2", "sdpa")  # no soft cap there, so transformers refuses
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def processor(tiny_folder: Path) -> Any:
    return load_processor(tiny_folder)


@pytest.fixture(scope="module")
def rows(processor: Any, media_folder: Path) -> list[Row]:
    maker = RowMaker(processor, ChatEncoder(processor))
    made: list[Row] = []
    for index, name in enumerate(NAMES):
        kind = KINDS.get(Path(name).suffix)
        question = f"<{kind}>\nWhat?" if kind else "What?"
        value: dict[str, Any] = {
            "conversations": [
                {"from": "human", "value": question},
                {"from": "gpt", "value": "It is." * (index + 1)},
            ]
        }
        if kind:
            value[kind] = str(media_folder / name)
        made.append(maker.make(record_from(value, file="f", line=index + 1)))
    return made


def varlen_reference(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """What flash attention does with the borders it is given: each sequence by itself."""
    batch, _, length, _ = query.shape
    heads = query.shape[1] // key.shape[1]
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    k, v = k.repeat_interleave(heads, 1), v.repeat_interleave(heads, 1)
    if cu_seq_lens_q is None:  # padded on the right: what is padded is seen by padding alone
        borders = [row * length for row in range(batch + 1)]
    else:
        borders = cu_seq_lens_q.tolist()
        assert max(b - a for a, b in pairwise(borders)) == max_length_q
    pieces = []
    for start, end in pairwise(borders):
        scores = torch.einsum("qhd,khd->hqk", q[start:end], k[start:end]) * scaling
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        distance = torch.arange(end - start)[:, None] - torch.arange(end - start)
        hidden = (distance < 0) | (distance >= (sliding_window or length * batch))
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        pieces.append(torch.einsum("hqk,khd->qhd", weights, v[start:end]))
    return torch.cat(pieces).unflatten(0, (batch, length)), None


AttentionInterface.register("varlen_reference", varlen_reference)
AttentionMaskInterface.register("varlen_reference", flash_attention_mask)


def model_of(family: str, attention: str | None, processor: Any) -> Any:
    """The family's model whose frozen encoders take no time of the test's."""
    model = tiny.build_model(families.config_of(family, processor.tokenizer, attention))
    model.model.vision_tower.requires_grad_(False)
    model.model.audio_tower.requires_grad_(False)
    return model


def learn(model: Any, batch: dict[str, Any], learned: int) -> tuple[float, dict[str, Tensor]]:
    """The loss and every gradient."""
    model.zero_grad(set_to_none=True)
    inputs = {name: value for name, value in batch.items() if name not in (SKIPPED, COUNTED)}
    loss = model(**inputs, use_cache=False, num_items_in_batch=learned).loss
    loss.backward()
    return loss.item(), {
        name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
    }


def assert_same_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """To float32's rounding of sums of some hundred terms, two layers deep."""
    assert ours.keys() == theirs.keys()
    largest = max(float(value.norm()) for value in theirs.values())
    for name, value in theirs.items():
        bound = 1e-5 * float(value.norm()) + 1e-7 * largest
        assert float((ours[name] - value).norm()) <= bound, name


@pytest.mark.parametrize(("family", "attention"), ATTENTION)
def test_packed_equals_padded(family: str, attention: str, rows: list[Row], processor: Any) -> None:
    """One row of all, several rows with padding, and recomputed layers."""
    model = model_of(family, attention, processor)
    assert model.model.language_model.config._attn_implementation == attention
    pad = pad_id_of(processor.tokenizer)
    padded = Collator(pad)(rows)
    learned = int((padded["labels"] != IGNORED).sum())
    loss, gradients = learn(model, padded, learned)
    assert any(bool(value.any()) for value in gradients.values())
    for limit, recomputed in ((None, False), (150, False), (150, True)):
        packed = Collator(pad, Packing(limit))(rows)
        assert int((packed["labels"] != IGNORED).sum()) == learned
        assert (len(packed["input_ids"]) == 1) == (limit is None)
        if recomputed:
            model.train()
            recompute_layers(model)
            model.model.audio_tower.eval()
        ours, same = learn(model, packed, learned)
        assert ours == pytest.approx(loss, rel=1e-5)
        assert_same_gradients(same, gradients)


@pytest.mark.parametrize(("family", "attention"), ATTENTION)
@torch.no_grad()
def test_a_record_knows_nothing_of_its_neighbours(
    family: str, attention: str, processor: Any
) -> None:
    """Other words before and after it, of the same number: the same logits, bit for bit.

    Experts take words of all records together, in sums whose order may change.
    """
    model = model_of(family, attention, processor)
    lengths = (20, 30, 25)
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    ids = torch.randint(0, 250, (1, sum(lengths)))
    other = ids.clone()
    other[:, :20] = torch.randint(0, 250, (1, 20))
    other[:, 50:] = torch.randint(0, 250, (1, 25))
    first, second = (
        model(input_ids=words, position_ids=positions).logits[:, 20:50] for words in (ids, other)
    )
    assert not torch.equal(ids, other)
    if family == "mixtral":
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-5)
    else:
        assert torch.equal(first, second)
    alone = model(input_ids=ids[:, 20:50]).logits
    torch.testing.assert_close(first, alone, rtol=1e-4, atol=1e-5)


def test_what_positions_say() -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 0]])
    expected = [[1, 0, 0, 1, 0, 1], [1, 0, 0, 0, 0, 1]]
    assert sequence_starts(positions).int().tolist() == expected
    given_to_flash = flash_arguments(positions)
    assert given_to_flash["cu_seq_lens_q"].tolist() == [0, 3, 5, 6, 11, 12]
    assert given_to_flash["cu_seq_lens_k"].dtype == torch.int32
    assert given_to_flash["max_length_q"] == given_to_flash["max_length_k"] == 5
    assert is_packed(positions)
    assert not is_packed(torch.arange(5)[None])
    assert not is_packed(None)


def test_no_cache_of_packed_rows(tiny_model: Any) -> None:
    ids, positions = torch.randint(0, 250, (1, 6)), torch.tensor([[0, 1, 2, 0, 1, 2]])
    with pytest.raises(ValueError, match="use_cache=False"):
        tiny_model(input_ids=ids, position_ids=positions, use_cache=True)
    assert tiny_model(input_ids=ids, position_ids=positions).past_key_values is None


@given(st.lists(st.integers(2, 3000), max_size=40), st.integers(1, 4000))
def test_every_record_whole_and_once(lengths: list[int], limit: int) -> None:
    """Rows hold at most the limit, or one record that is longer; no two rows fit in one."""
    packed = Packing(limit).rows(lengths)
    assert sorted(index for row in packed for index in row) == list(range(len(lengths)))
    used = [sum(lengths[index] for index in row) for row in packed]
    for row, tokens in zip(packed, used, strict=True):
        assert tokens <= limit or len(row) == 1
    fewest = sorted(used)[:2]
    assert len(packed) < 2 or sum(fewest) > limit
    assert Packing(None).rows(lengths) == ([list(range(len(lengths)))] if lengths else [])


def test_media_lie_in_the_order_of_rows(rows: list[Row], processor: Any) -> None:
    batch = Collator(0, Packing(200))(rows)
    order = [index for row in Packing(200).rows([len(r.ids) for r in rows]) for index in row]
    assert order != sorted(order)
    sounds = [m for index in order for m in rows[index].media if m.features is not None]
    for features, medium in zip(batch["input_features"], sounds, strict=True):
        assert medium.features is not None
        torch.testing.assert_close(features[: len(medium.features)], medium.features)
    counted = batch[COUNTED]
    assert counted.records == len(rows)
    assert counted.tokens == sum(len(row.ids) for row in rows)
    assert counted.places == batch["input_ids"].numel() > counted.tokens
    assert "attention_mask" not in batch


def test_a_first_token_is_foretold_by_nothing() -> None:
    """Labels of all words (as the main branch's pre-training has them) lose each row's first."""
    made = [Row([5, 6, 7], [5, 6, 7], ()), Row([8, 9], [8, 9], ())]
    assert Collator(0)(made)["labels"].tolist() == [[-100, 6, 7], [-100, 9, -100]]
    packed = Collator(0, Packing(None))(made)
    assert packed["labels"].tolist() == [[-100, 6, 7, -100, 9]]
    assert packed["position_ids"].tolist() == [[0, 1, 2, 0, 1]]


def test_families_that_cannot_be_packed_say_so(processor: Any) -> None:
    """Such as those that carry a state from word to word."""
    for family in families.FAMILIES:
        check_separate(model_of(family, None, processor).train())
    text = {
        "model_type": "qwen3_next",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "vocab_size": len(processor.tokenizer),
        "initializer_range": 0.3,
    }
    config = tiny.build_config(processor.tokenizer, text_config=text)
    with pytest.raises(TrainingError, match="qwen3_next does not keep packed records apart"):
        check_separate(tiny.build_model(config))


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()]


def padding(folder: Path) -> float:
    noted = [json.loads(line)["padding"] for line in (folder / "metrics.jsonl").open()]
    return sum(noted) / len(noted)


@pytest.mark.parametrize("more", [(), ("optimizer.gradient_checkpointing=false",)])
def test_a_packed_run_is_the_same_run(
    tmp_path: Path, settings: Callable[..., list[str]], more: tuple[str, ...]
) -> None:
    """Records, steps and losses of the joint stage, packed as one, as several rows, or not."""
    noted: dict[str, list[float]] = {}
    saved: dict[str, float] = {}
    for name, packing in (
        ("padded", ()),
        ("one", ("data.packing=true",)),
        ("rows", ("data.packing=true", "data.pack_tokens=150")),
    ):
        folder = tmp_path / name
        # BEATs' own layers drop out alike: its clips are read in one order or another.
        given = settings(folder, "batch.total=8", "batch.per_device=4", *packing, *more)
        train(load_recipe("audio_visual_joint", given))
        noted[name], saved[name] = losses(folder), padding(folder)
    assert len(noted["padded"]) == 4
    assert noted["one"] == pytest.approx(noted["padded"], rel=1e-4)
    assert noted["rows"] == pytest.approx(noted["padded"], rel=1e-4)
    assert saved["one"] == 0 < saved["rows"] < saved["padded"]


def test_packing_is_said_before_weights_are_read() -> None:
    with pytest.raises(TrainingError, match=r"data\.pack_tokens is 9 .* data\.packing=true"):
        load_recipe("lora", ["data.pack_tokens=9"])
    with pytest.raises(TrainingError, match=r"data\.pack is no setting; did you mean data\.pac"):
        load_recipe("lora", ["data.pack=true"])


@pytest.mark.timeout(900)
def test_each_process_packs_its_share(tmp_path: Path, settings: Callable[..., list[str]]) -> None:
    """Two processes, packed: the losses of one that pads, on weights of any kind."""
    packed = ("data.packing=true", "data.pack_tokens=150", "optimizer.precision=float32")
    joint = ("batch.total=8",)
    adapters = (*joint, "adapter.rank=2", "adapter.dropout=0", "adapter.learning_rate=1e-2")
    cases = {
        "ddp": ("audio_visual_joint", joint, "parallel.kind=ddp"),
        "fsdp2": ("audio_visual_joint", joint, "parallel.kind=fsdp2"),
        "qlora": ("qlora", adapters, "parallel.kind=ddp"),
    }
    jobs = [
        Job(name, settings(tmp_path / case, *more, *packed, kind))
        for case, (name, more, kind) in cases.items()
    ]
    ended = launch(2, jobs, tmp_path / "jobs")
    assert ended.returncode == 0, ended.stderr
    for case, (name, more, _) in cases.items():
        alone = tmp_path / f"{case}-alone"
        train(load_recipe(name, settings(alone, *more, "optimizer.precision=float32")))
        assert losses(tmp_path / case) == pytest.approx(losses(alone), rel=1e-4)
        assert (tmp_path / case / "model").is_dir()
