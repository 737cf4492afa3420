"""Media tokens into text: each placeholder's embedding is replaced by a media token."""

from collections.abc import Sequence

import torch
from torch import Tensor

from videollama2.model.tensors import integers


class MediaTokenMismatchError(ValueError):
    """The text holds more or fewer placeholders of a kind than its media give tokens."""


def check_counts(kind: str, placeholders_b: Tensor, items: Sequence[int]) -> None:
    """Compare placeholders (B,) per row with the tokens of each item, in order.

    Raises:
        MediaTokenMismatchError: naming the kind, the items' tokens and the rows' placeholders.
    """
    rows = integers(placeholders_b)
    if sum(rows) == sum(items):
        return
    raise MediaTokenMismatchError(
        f"{kind}: {len(items)} item(s) give {list(items)} tokens, {sum(items)} in all, but the "
        f"rows of input_ids hold {rows} <{kind}> placeholders, {sum(rows)} in all: write one "
        "placeholder for each token, as the processor does"
    )


def fuse(
    inputs_embeds_BLD: Tensor,
    input_ids_BL: Tensor,
    features: dict[str, Sequence[Tensor]],
    token_ids: dict[str, int],
) -> Tensor:
    """(B, L, D) with the tokens of all media in their places.

    `features` has, for each kind ("video", "image", "audio"), the items in the order of their
    runs over the whole batch, each (tokens, D). A kind without items must have no placeholders.

    Raises:
        MediaTokenMismatchError: as in `check_counts`.
    """
    for kind, token_id in token_ids.items():
        mask_bl = input_ids_BL == token_id
        items = features.get(kind, ())
        check_counts(kind, mask_bl.sum(1), [item.shape[0] for item in items])
        if items:
            tokens = torch.cat(list(items)).to(inputs_embeds_BLD)
            inputs_embeds_BLD = inputs_embeds_BLD.masked_scatter(mask_bl[..., None], tokens)
    return inputs_embeds_BLD
