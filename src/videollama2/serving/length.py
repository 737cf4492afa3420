"""Texts that cannot fit are refused before the one thread that owns the model takes them apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from videollama2.serving.errors import ApiError

_UNCHECKED = 16_384  # characters that are taken apart in a moment
_PIECE = 8_192
_SLACK = 1.25  # cutting a text makes more tokens of it: one or two a cut


def check_length(tokenizer: Any, longest: int | None, texts: Iterable[str]) -> None:
    """Refuse a conversation of far more than `longest` tokens, which the language model reads.

    A text is taken apart piece by piece, and no further than is needed to know, so what is sent is
    no measure of what it costs. Exactly is counted later, for what passes.

    Raises:
        ApiError: 400.
    """
    known = list(texts)
    if longest is None or tokenizer is None or sum(map(len, known)) <= _UNCHECKED:
        return
    backend = backend_of(tokenizer)
    count = 0
    for text in known:
        for start in range(0, len(text), _PIECE):
            count += len(backend.encode(text[start : start + _PIECE], add_special_tokens=False))
            if count > _SLACK * longest:
                raise ApiError(
                    400,
                    f"the conversation is over the {longest} tokens that this language model reads",
                    code="invalid_prompt",
                    param="messages",
                )


def backend_of(tokenizer: Any) -> Any:
    """What may be used beside the model's thread, which has the tokenizer itself."""
    return getattr(tokenizer, "backend_tokenizer", None) or tokenizer
