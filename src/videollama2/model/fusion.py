"""Media tokens into text: each placeholder's embedding is replaced by a media token.

Shapes: B rows, L text positions, D language model width; items lie over the whole batch, in the
order of their runs.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from videollama2.model.tensors import integers


class MediaTokenMismatchError(ValueError):
    """The text holds more or fewer placeholders of a kind than its media give tokens."""


def items_per_row(kind: str, placeholders_b: Tensor, tokens: Sequence[int]) -> list[int]:
    """How many items each row holds, from its placeholders (B,) and the items' tokens, in order.

    Raises:
        MediaTokenMismatchError: the numbers differ, or an item would begin in one row and end in
            the next; with the kind, the items' tokens and the rows' placeholders.
    """
    rows = integers(placeholders_b)
    waiting = list(tokens)
    counts: list[int] = []
    for placeholders in rows:
        count = 0
        while waiting and placeholders >= waiting[0]:
            placeholders -= waiting.pop(0)
            count += 1
        counts.append(count)
        if placeholders:
            break
    else:
        if not waiting:
            return counts
    raise MediaTokenMismatchError(
        f"{kind}: {len(tokens)} item(s) give {list(tokens)} tokens, {sum(tokens)} in all, but the "
        f"rows hold {rows} <{kind}> placeholders, {sum(rows)} in all: write one placeholder for "
        "each token, and every item within one row, as the processor does"
    )


def fuse(
    inputs_embeds_BLD: Tensor,
    places: Mapping[str, Tensor],
    features: Mapping[str, Sequence[Tensor]],
) -> Tensor:
    """(B, L, D) with the tokens of all media in their places.

    `places` has, for each kind ("video", "image", "audio"), a mask (B, L) of its placeholders;
    `features` its items, each (tokens, D). A kind without items must have no placeholders.
    A compiled graph cannot raise on what tensors hold: numbers are compared where it is not one.

    Raises:
        MediaTokenMismatchError: as in `items_per_row`.
    """
    for kind, mask_bl in places.items():
        items = features.get(kind, ())
        if not torch.compiler.is_compiling():
            items_per_row(kind, mask_bl.sum(1), [item.shape[0] for item in items])
        if items:
            tokens = torch.cat(list(items)).to(inputs_embeds_BLD)
            inputs_embeds_BLD = inputs_embeds_BLD.masked_scatter(mask_bl[..., None], tokens)
    return inputs_embeds_BLD


def repeat_rows(counts: Sequence[int], items: Sequence[Tensor], times: int) -> list[Tensor]:
    """The items of rows that are each repeated `times` times, `counts` of them in each row.

    Rows [a b] and [c], twice: a b a b c c, as `repeat_interleave` does with the rows.
    """
    repeated: list[Tensor] = []
    start = 0
    for count in counts:
        repeated += list(items[start : start + count]) * times
        start += count
    return repeated
