"""Continuous batching, held to the answers of each prompt alone."""

from __future__ import annotations

from typing import Any

import prompts
import pytest
import torch

from videollama2.generation.batch import BatchRow, ContinuousBatch
from videollama2.generation.prompt import Prompt
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.stops import banned_token_ids
from videollama2.model.fusion import MediaTokenMismatchError

SETTINGS = SamplingSettings(max_new_tokens=14)
DRAWN = SamplingSettings(max_new_tokens=14, temperature=1.3, seed=5, repetition_penalty=1.2)


def alone(model: Any, prompt: Prompt, settings: SamplingSettings) -> list[int]:
    batch = open_batch(model)
    row = BatchRow(prompt, settings)
    batch.join([row])
    run_out(batch)
    return row.tokens


def open_batch(model: Any) -> ContinuousBatch:
    return ContinuousBatch(model, banned_ids=banned_token_ids(model))


def run_out(batch: ContinuousBatch) -> None:
    while batch.step():
        pass


@pytest.mark.parametrize("settings", [SETTINGS, DRAWN])
def test_rows_that_join_at_any_time_answer_as_alone(
    tiny_model: Any, tiny_tokenizer: Any, settings: SamplingSettings
) -> None:
    given = prompts.mixed(tiny_model, tiny_tokenizer)
    batch = open_batch(tiny_model)
    rows = [BatchRow(prompt, settings) for prompt in given]
    for place, row in enumerate(rows):  # a long one and a short one are always under way
        assert batch.join([row]) == [row]
        for _ in range(1 + place % 3):
            batch.step()
    assert len(batch.rows) > 1
    run_out(batch)
    assert [row.tokens for row in rows] == [alone(tiny_model, p, settings) for p in given]
    assert {row.finish_reason for row in rows} == {"length"}
    assert not batch.rows


def test_several_rows_of_one_prompt(tiny_model: Any, tiny_tokenizer: Any) -> None:
    prompt = prompts.mixed(tiny_model, tiny_tokenizer)[0]
    each = [SamplingSettings(9, temperature=1.5, seed=seed) for seed in range(3)]
    batch = open_batch(tiny_model)
    rows = [BatchRow(prompt, settings) for settings in each]
    batch.join(rows)
    run_out(batch)
    assert [row.tokens for row in rows] == [alone(tiny_model, prompt, s) for s in each]
    assert len({tuple(row.tokens) for row in rows}) == 3


def test_a_row_that_leaves_changes_no_other(tiny_model: Any, tiny_tokenizer: Any) -> None:
    given = sorted(prompts.mixed(tiny_model, tiny_tokenizer), key=len)
    batch = open_batch(tiny_model)
    rows = [BatchRow(prompt, SETTINGS) for prompt in (given[0], given[-1])]
    for row in rows:
        batch.join([row])
    batch.step()
    rows[1].finish_reason = "stop"  # the longest
    assert batch.step() == [rows[0]]
    run_out(batch)
    assert rows[0].tokens == alone(tiny_model, given[0], SETTINGS)


def test_a_row_goes_on_in_another_batch(tiny_model: Any, tiny_tokenizer: Any) -> None:
    prompt = prompts.mixed(tiny_model, tiny_tokenizer)[0]
    row = BatchRow(prompt, DRAWN)
    first, second = open_batch(tiny_model), open_batch(tiny_model)
    first.join([row])
    first.step()
    second.join([row])
    run_out(second)
    assert row.tokens == alone(tiny_model, prompt, DRAWN)


def test_a_prompt_that_cannot_be_read_leaves_the_batch_alone(
    tiny_model: Any, tiny_tokenizer: Any
) -> None:
    good = next(p for p in prompts.mixed(tiny_model, tiny_tokenizer) if p.media)
    batch = open_batch(tiny_model)
    row = BatchRow(good, SETTINGS)
    batch.join([row])
    with pytest.raises(MediaTokenMismatchError):
        batch.join([BatchRow(Prompt(good.input_ids), SETTINGS)])
    run_out(batch)
    assert row.tokens == alone(tiny_model, good, SETTINGS)


class Only:
    """Allows one token after another."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens, self.seen = tokens, list[int]()

    def allowed(self, vocabulary: int) -> torch.Tensor:
        return torch.arange(vocabulary) == self.tokens[len(self.seen)]

    def accept(self, token: int) -> None:
        self.seen.append(token)


@pytest.mark.parametrize("settings", [SETTINGS, DRAWN])
def test_a_constraint_decides(
    tiny_model: Any, tiny_tokenizer: Any, settings: SamplingSettings
) -> None:
    given = prompts.mixed(tiny_model, tiny_tokenizer)
    batch = ContinuousBatch(tiny_model, stop_ids=frozenset({7}))
    only = Only([11, 12, 13, 7])
    rows = [BatchRow(given[0], settings, constraint=only), BatchRow(given[1], settings)]
    for row in rows:
        batch.join([row])
    run_out(batch)
    assert rows[0].tokens == only.seen == [11, 12, 13]
    assert rows[0].finish_reason == "stop"


def test_logprobs_are_the_models(tiny_model: Any, tiny_tokenizer: Any) -> None:
    prompt = next(p for p in prompts.mixed(tiny_model, tiny_tokenizer) if not p.media)
    batch = open_batch(tiny_model)
    row = BatchRow(prompt, DRAWN, top_logprobs=3)
    batch.join([row])
    run_out(batch)
    ids = torch.tensor([[*prompt.input_ids, *row.tokens]])
    with torch.no_grad():
        logits = tiny_model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    logits[:, sorted(banned_token_ids(tiny_model))] = float("-inf")
    expected = logits.log_softmax(-1)
    said = torch.tensor([entry.logprob for entry in row.logprobs])
    torch.testing.assert_close(said, expected.gather(1, ids[0, len(prompt) :, None])[:, 0])
    top = torch.tensor([[value for _, value in entry.top] for entry in row.logprobs])
    torch.testing.assert_close(top, expected.topk(3).values)
    assert [entry.token for entry in row.logprobs] == row.tokens


def test_what_cannot_join(tiny_model: Any) -> None:
    batch = open_batch(tiny_model)
    rows = [BatchRow(Prompt((5, 6)), SETTINGS), BatchRow(Prompt((5, 7)), SETTINGS)]
    for wrong in ([], [BatchRow(Prompt(()), SETTINGS)], rows):
        with pytest.raises(ValueError):
            batch.join(wrong)
    assert batch.step() == []
