"""Several sequences in one row, each as if alone: what their positions say.

Shapes: B rows, L positions. A sequence begins at each row's start and wherever the position is not
the one before plus one, as transformers reads them; what pads a row's end is a sequence too.
"""

from typing import Any

import torch
from torch import Tensor


def sequence_starts(position_ids_BL: Tensor) -> Tensor:
    """(B, L): whether a sequence begins there."""
    starts = torch.ones_like(position_ids_BL, dtype=torch.bool)
    starts[:, 1:] = position_ids_BL.diff(dim=1) != 1
    return starts


def is_packed(position_ids: Tensor | None) -> bool:
    """Whether some row holds more than one sequence."""
    if position_ids is None or position_ids.ndim != 2:
        return False
    return bool(sequence_starts(position_ids)[:, 1:].any())


def flash_arguments(position_ids_BL: Tensor) -> dict[str, Any]:
    """The sequences' borders in all rows laid end to end, as flash attention takes them."""
    starts = sequence_starts(position_ids_BL).flatten().nonzero().flatten()
    borders = torch.cat([starts, starts.new_tensor([position_ids_BL.numel()])]).int()
    longest = int(borders.diff().max())
    return {
        "cu_seq_lens_q": borders,
        "cu_seq_lens_k": borders,
        "max_length_q": longest,
        "max_length_k": longest,
    }
