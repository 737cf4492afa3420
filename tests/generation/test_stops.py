"""Which tokens end an answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from videollama2.generation.stops import stop_token_ids


@pytest.mark.parametrize(
    ("generation", "text", "tokenizer", "expected"),
    [
        (2, 5, None, {2}),
        ([2, 3], 5, None, {2, 3}),
        (None, 5, None, {5}),
        ([2, 3], 5, 4, {2, 3, 4}),
        (None, None, None, set[int]()),
    ],
)
def test_the_checkpoint_says(generation: Any, text: Any, tokenizer: Any, expected: Any) -> None:
    model = SimpleNamespace(
        generation_config=SimpleNamespace(eos_token_id=generation),
        config=SimpleNamespace(text_config=SimpleNamespace(eos_token_id=text)),
    )
    given = None if tokenizer is None else SimpleNamespace(eos_token_id=tokenizer)
    assert stop_token_ids(model, given) == expected
