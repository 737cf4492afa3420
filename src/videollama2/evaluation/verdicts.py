"""What a judge said, read strictly enough to be trusted and kindly enough to be understood."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from videollama2.evaluation.task import Judgement

HIGHEST = 5


@dataclass(frozen=True)
class Verdict:
    """A judge's reply to one judgement.

    `score` is 0 to 5, `yes` the answer to yes or no where that was asked. `failure`: why there is
    none, after every retry. `cached`: it was known from before.
    """

    text: str
    score: int | None = None
    yes: bool | None = None
    failure: str | None = None
    prompt_tokens: int = 0
    generated_tokens: int = 0
    cached: bool = False

    def scores(self, judgement: Judgement) -> dict[str, float]:
        """The metrics that it gives; none after a failure."""
        if self.score is None:
            return {}
        found = {judgement.score_metric: float(self.score)}
        if judgement.yes_metric is not None and self.yes is not None:
            found[judgement.yes_metric] = float(self.yes)
        return found


def schema_of(judgement: Judgement) -> dict[str, Any]:
    """The JSON schema that a judge's reply must keep to."""
    properties: dict[str, Any] = {}
    if judgement.yes_metric is not None:
        properties[judgement.yes_key] = {"type": "string", "enum": ["yes", "no"]}
    properties[judgement.score_key] = {"type": "integer", "minimum": 0, "maximum": HIGHEST}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_verdict(text: str, judgement: Judgement) -> Verdict:
    """The verdict in a judge's reply: JSON, a Python dictionary, or one with other text around it.

    Scores are cut to whole numbers, as the released scripts do.

    Raises:
        ValueError: it lacks a key, or the score is not from 0 to 5.
    """
    values = _dictionary(text)
    yes: bool | None = None
    if judgement.yes_metric is not None:
        said = str(values.get(judgement.yes_key, "")).lower()
        if "yes" not in said and "no" not in said:
            raise ValueError(f"{judgement.yes_key!r} is neither yes nor no")
        yes = "yes" in said
    try:
        score = int(float(values[judgement.score_key]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{judgement.score_key!r} is no number") from None
    if not 0 <= score <= HIGHEST:
        raise ValueError(f"{judgement.score_key!r} is {score}, not from 0 to {HIGHEST}")
    return Verdict(text, score, yes)


# The released prompts show {''score': 4.8}: a judge that copies this writes no dictionary.
_PAIR = re.compile(r"[\"']*(\w+)[\"']+\s*:\s*[\"']?(-?\d+(?:\.\d+)?|\w+)")


def _dictionary(text: str) -> Mapping[str, Any]:
    inside = re.search(r"\{.*?\}", text, re.DOTALL)
    piece = inside[0] if inside else text
    for read in (json.loads, ast.literal_eval):
        try:
            value: object = read(piece)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict):
            return cast(dict[str, Any], value)
    return dict(_PAIR.findall(piece))
