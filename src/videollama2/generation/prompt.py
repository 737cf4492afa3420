"""What the language model is given: ids with runs of placeholders, and the tokens of the media."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

_numbers = itertools.count(1)


@dataclass(frozen=True, eq=False)
class MediumTokens:
    """One medium as tokens of the language model.

    `kind` is "video", "image" or "audio"; `features` (tokens, D). `number` is this encoding's own:
    two prompts with the same number hold the same medium, so that a cache of the first can serve
    the second.
    """

    kind: str
    features: Tensor
    number: int = field(default_factory=lambda: next(_numbers))


@dataclass(frozen=True)
class Prompt:
    """One row: `input_ids` with one placeholder for each media token, `media` in their order."""

    input_ids: tuple[int, ...]
    media: tuple[MediumTokens, ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)

    def signature(self, placeholder_ids: Mapping[str, int]) -> list[tuple[int, int]]:
        """Say what stands at each position: (token id, 0), or (id, number) of a medium's token."""
        runs = {
            token_id: [
                medium.number
                for medium in self.media
                if medium.kind == kind
                for _ in range(len(medium.features))
            ]
            for kind, token_id in placeholder_ids.items()
        }
        taken = dict.fromkeys(runs, 0)
        marks: list[tuple[int, int]] = []
        for token_id in self.input_ids:
            run = runs.get(token_id)
            place = taken.get(token_id, 0)
            if run is None or place >= len(run):  # too few tokens: the model says so, with counts
                marks.append((token_id, 0))
                continue
            marks.append((token_id, run[place]))
            taken[token_id] = place + 1
        return marks


def features_from(
    prompt: Prompt, start: int, placeholder_ids: Mapping[str, int]
) -> dict[str, list[Tensor]]:
    """The media tokens by kind that stand at or after position `start`."""
    found: dict[str, list[Tensor]] = {}
    for kind, token_id in placeholder_ids.items():
        items = [medium.features for medium in prompt.media if medium.kind == kind]
        done = prompt.input_ids[:start].count(token_id)
        if items and done:
            rest = torch.cat(items)[done:]
            items = [rest] if len(rest) else []
        if items:
            found[kind] = items
    return found
