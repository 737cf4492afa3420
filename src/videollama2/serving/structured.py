"""Answers held to a JSON schema, token by token, through llguidance."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

from videollama2.serving.errors import ApiError
from videollama2.serving.protocol import ResponseFormat

_LONGEST_SCHEMA = 65_536


class JsonConstraint:
    """What may come next in JSON of one schema."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def allowed(self, vocabulary: int) -> Tensor:
        """(V,) bool: the tokens that go on with, or end, a text of the schema."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        flags = np.unpackbits(bits, bitorder="little")[:vocabulary].astype(bool)
        flags = np.pad(flags, (0, vocabulary - len(flags)))
        untyped: Any = torch
        return untyped.from_numpy(flags)

    def accept(self, token: int) -> None:
        """Take note of the next token.

        Raises:
            ValueError: the token breaks the schema.
        """
        if not self._matcher.consume_token(token):
            raise ValueError(f"token {token} breaks the schema: {self._matcher.get_error()}")


class JsonSchemas:
    """Makes constraints for one tokenizer, which is taken apart once, at the first use."""

    def __init__(self, tokenizer: Any, vocabulary: int, stop_ids: frozenset[int]) -> None:
        self._given = (tokenizer, vocabulary, sorted(stop_ids))
        self._tokens: Any = None

    def grammar(self, wanted: ResponseFormat | None) -> str | None:
        """The grammar of a response format; None where the answer is free.

        Raises:
            ApiError: 400, the schema cannot be followed here, and why.
        """
        if wanted is None or wanted.type == "text":
            return None
        schema: dict[str, Any] = {"type": "object"}
        if wanted.type == "json_schema":
            if wanted.json_schema is None or wanted.json_schema.json_schema is None:
                raise _refused("json_schema.schema is missing")
            schema = wanted.json_schema.json_schema
        text = json.dumps(schema)
        if len(text) > _LONGEST_SCHEMA:
            raise _refused(f"the schema is over {_LONGEST_SCHEMA} characters")
        library = _library()
        try:
            grammar: str = library.LLMatcher.grammar_from_json_schema(
                text, overrides={"whitespace_flexible": False}
            )
        except ValueError as error:
            raise _refused(str(error)[:300]) from error
        problem: str = library.LLMatcher.validate_grammar(grammar, self._tokenizer())
        if problem:
            raise _refused(problem.strip()[:300])
        return grammar

    def constraint(self, grammar: str) -> JsonConstraint:
        """A constraint at its beginning."""
        return JsonConstraint(_library().LLMatcher(self._tokenizer(), grammar))

    def _tokenizer(self) -> Any:
        if self._tokens is None:
            library = _library()
            tokenizer, vocabulary, stop_ids = self._given
            try:
                self._tokens = library.LLTokenizer(
                    _as_written(tokenizer), n_vocab=vocabulary, eos_token=stop_ids
                )
            except (ValueError, AttributeError) as error:
                raise _refused("this model's tokenizer cannot be held to a schema") from error
        return self._tokens


def _as_written(tokenizer: Any) -> str:
    """A tokenizer's JSON, so that text is cut as it stands.

    Byte-level tokenizers that put a space first, or lower the case, would have llguidance expect a
    space before the first brace.

    Raises:
        AttributeError: a tokenizer without such a JSON.
    """
    written: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    written["padding"] = written["truncation"] = None
    before: dict[str, Any] = written.get("pre_tokenizer") or {}
    steps: list[dict[str, Any]] = before.get("pretokenizers") or [before]
    for step in steps:
        if step.get("type") == "ByteLevel":
            step["add_prefix_space"] = False
            written["normalizer"] = None
    return json.dumps(written)


def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise _refused('it needs pip install "videollama2[serve]" on the server') from error
    return llguidance


def _refused(reason: str) -> ApiError:
    return ApiError(
        400, f"response_format: {reason}", code="invalid_schema", param="response_format"
    )
