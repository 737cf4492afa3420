"""Prompts in, text out."""

from __future__ import annotations

from typing import Any

import prompts

from videollama2.generation.prefix import PrefixCache
from videollama2.generation.settings import SamplingSettings
from videollama2.generation.writing import Writer


def write(writer: Writer, rows: Any, **settings: Any) -> Any:
    writing = writer.write(
        rows, [SamplingSettings(**{"max_new_tokens": 20, **settings})] * len(rows)
    )
    pieces: list[str] = [""] * len(rows)
    for row, piece in writing:
        pieces[row] += piece
    return pieces, writing.results()


def test_pieces_are_the_text(tiny_model: Any, tiny_tokenizer: Any) -> None:
    rows = prompts.mixed(tiny_model, tiny_tokenizer)
    writer = Writer(tiny_model, tiny_tokenizer)
    pieces, results = write(writer, rows)
    for row, piece, result in zip(rows, pieces, results, strict=True):
        assert piece == result.text
        assert (
            result.text == tiny_tokenizer.decode(result.token_ids, skip_special_tokens=True).strip()
        )
        assert result.prompt_tokens == len(row)
        assert result.finish_reason in ("stop", "length")
        assert 0 < result.first_token_ms <= result.total_ms


def test_a_stop_string_ends_one_row(tiny_model: Any, tiny_tokenizer: Any) -> None:
    rows = prompts.mixed(tiny_model, tiny_tokenizer)[:2]
    writer = Writer(tiny_model, tiny_tokenizer)
    _, (first, second) = write(writer, rows)
    stop = next(letter for letter in first.text[2:] if letter.isascii() and letter.isprintable())
    _, (cut, other) = write(writer, rows, stop_strings=(stop,))
    assert cut.text == first.text.split(stop)[0].strip()
    assert cut.finish_reason == "stop"
    assert len(cut.token_ids) < len(first.token_ids)
    assert other.text == second.text.split(stop)[0].strip()


def test_broken_off_the_rest_is_not_computed_and_the_prefix_kept(
    tiny_model: Any, tiny_tokenizer: Any
) -> None:
    row = prompts.mixed(tiny_model, tiny_tokenizer)[3]
    writer, prefix = Writer(tiny_model, tiny_tokenizer), PrefixCache()
    writing = writer.write([row], [SamplingSettings(max_new_tokens=20)], prefix)
    next(writing)
    writing.close()
    (result,) = writing.results()
    assert result.finish_reason == "interrupted"
    assert len(result.token_ids) < 20
    assert len(prefix) >= len(row)
