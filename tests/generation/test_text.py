"""Tokens as they come, text as it can be shown."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from videollama2.generation.text import TextStream

FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def pieces(tokenizer: Any, tokens: list[int], *stops: str) -> tuple[list[str], TextStream]:
    stream = TextStream(tokenizer, stops)
    shown = [stream.push(token) for token in tokens]
    return [piece for piece in [*shown, stream.finish()] if piece], stream


@FIXTURE
@given(st.text())
def test_text_comes_out_whole_and_never_half_a_character(tiny_tokenizer: Any, text: str) -> None:
    tokens = tiny_tokenizer(text, add_special_tokens=False).input_ids
    shown, stream = pieces(tiny_tokenizer, tokens)
    assert (
        "".join(shown)
        == stream.text
        == tiny_tokenizer.decode(tokens, skip_special_tokens=True).strip()
    )
    assert all("\ufffd" not in piece for piece in shown) or "\ufffd" in text


def test_a_character_of_four_bytes_comes_at_once(tiny_tokenizer: Any) -> None:
    shown, _ = pieces(tiny_tokenizer, tiny_tokenizer("a\U0001f3b8é").input_ids)
    assert shown == ["a", "\U0001f3b8", "é"]


@FIXTURE
@given(st.lists(st.integers(0, 261), max_size=30))
def test_any_tokens_come_out_as_the_tokenizer_writes_them(
    tiny_tokenizer: Any, tokens: list[int]
) -> None:
    shown, stream = pieces(tiny_tokenizer, tokens)
    assert (
        "".join(shown)
        == stream.text
        == tiny_tokenizer.decode(tokens, skip_special_tokens=True).strip()
    )


@FIXTURE
@given(st.text("ab#\n", max_size=12), st.text("ab#\n", min_size=1, max_size=3))
def test_nothing_from_a_stop_string_on_is_shown(tiny_tokenizer: Any, text: str, stop: str) -> None:
    shown, stream = pieces(tiny_tokenizer, tiny_tokenizer(text).input_ids, stop)
    whole = text.lstrip()
    assert "".join(shown) == stream.text == whole.split(stop)[0].strip()
    assert stream.stopped == (stop in whole)


def test_white_space_waits_for_the_word_after_it(tiny_tokenizer: Any) -> None:
    shown, _ = pieces(tiny_tokenizer, tiny_tokenizer("\n a  b \n").input_ids)
    assert shown == ["a", "  b"]
