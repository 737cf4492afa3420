"""Records laid end to end in rows, so that little is padded; none is ever cut in two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from videollama2.training.errors import TrainingError

_CHECKED = 4  # tokens of each sequence in the check below
_ALLOWED = 0.1  # of the logits' spread: rounding stays far below, another's words far above


@dataclass(frozen=True)
class Packing:
    """Rows of at most `max_tokens` tokens (None: one row for all); a longer record has its own."""

    max_tokens: int | None = None

    def rows(self, lengths: Sequence[int]) -> list[list[int]]:
        """Which records, by index, lie in each row: the longest first, each where it first fits."""
        if self.max_tokens is None:
            return [list(range(len(lengths)))] if lengths else []
        rows: list[list[int]] = []
        used: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
            length = lengths[index]
            fits = (n for n, tokens in enumerate(used) if tokens + length <= self.max_tokens)
            row = next(fits, len(rows))
            if row == len(rows):
                rows.append([])
                used.append(0)
            rows[row].append(index)
            used[row] += length
        return rows


@torch.no_grad()
def check_separate(model: Any) -> None:
    """Try with a few words whether the language model keeps packed sequences apart.

    Raises:
        TrainingError: a sequence packed behind another gives other logits than by itself, as with
            families that carry a state from word to word.
    """
    media = model.model.media_token_ids().values()
    text = model.config.text_config
    words = [n for n in range(min(int(text.vocab_size), 64)) if n not in media]
    device = next(model.parameters()).device
    ids = torch.tensor([words[: 2 * _CHECKED]], device=device)
    positions = torch.arange(_CHECKED, device=device)[None]
    was_training = model.training
    model.eval()
    packed = model(
        input_ids=ids, position_ids=torch.cat([positions, positions], 1), use_cache=False
    )
    alone = model(input_ids=ids[:, _CHECKED:], position_ids=positions, use_cache=False)
    model.train(was_training)
    expected = alone.logits.float()
    furthest = (packed.logits[:, _CHECKED:].float() - expected).abs().max()
    if furthest > _ALLOWED * expected.std():
        raise TrainingError(
            f"{text.model_type} does not keep packed records apart: say data.packing=false"
        )
