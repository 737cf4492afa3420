"""Rows of text and media -> one batch of tensors.

Shapes: B rows, L tokens, items in the order in which their placeholders stand over the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from transformers import BatchFeature

from .chat import MEDIA_TOKENS, PLACEHOLDER
from .feature_extractor import pad_features
from .parts import LoadedMedia, MediaReport

PaddingSide = Literal["left", "right"]
Piece: TypeAlias = "str | LoadedMedia"
Run = tuple[str, int]  # kind of placeholder, how many of it

_TYPE_IDS = {"image": 1, "video": 2, "audio": 3}  # transformers' `mm_token_type_ids`; 0 is text


class VideoLlama2Inputs(BatchFeature):
    """The model's inputs by name; `reports` says what was taken in, in the text's order."""

    reports: tuple[MediaReport, ...] = ()


@dataclass(frozen=True)
class EncodedRow:
    """One row's token ids, and the character spans that its placeholders expanded to."""

    input_ids: list[int]
    replacements: list[dict[str, Any]]


def split_placeholders(text: str) -> list[str]:
    """`text` cut around its placeholders; each placeholder is a piece of its own."""
    pieces: list[str] = []
    at = 0
    for found in PLACEHOLDER.finditer(text):
        pieces += [text[at : found.start()], found.group()]
        at = found.end()
    return [piece for piece in [*pieces, text[at:]] if piece]


def encode_row(
    pieces: Sequence[Piece],
    encode: Callable[[str], list[int]],
    runs_of: Callable[[LoadedMedia], list[Run]],
    token_ids: dict[str, int],
) -> EncodedRow:
    """Token ids of a row. Text is encoded piece by piece, as released, so that no tokenizer's
    treatment of what stands beside a placeholder matters.
    """
    input_ids: list[int] = []
    replacements: list[dict[str, Any]] = []
    at = grown = 0
    for piece in pieces:
        if isinstance(piece, str):
            input_ids += encode(piece)
            at += len(piece)
            continue
        placeholder = MEDIA_TOKENS[piece.kind]
        runs = runs_of(piece)
        for kind, count in runs:
            input_ids += [token_ids[kind]] * count
        expanded = "".join(MEDIA_TOKENS[kind] * count for kind, count in runs)
        start = at + grown
        replacements.append(
            {
                "type": piece.kind,
                "span": (at, at + len(placeholder)),
                "new_span": (start, start + len(expanded)),
                "text": placeholder,
                "replacement": expanded,
            }
        )
        at += len(placeholder)
        grown += len(expanded) - len(placeholder)
    return EncodedRow(input_ids, replacements)


def pad_rows(
    rows: Sequence[Sequence[int]],
    pad_id: int,
    side: PaddingSide,
    at_least: int = 0,
    at_most: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of ids -> `input_ids` and `attention_mask`, both (B, L), L `at_least` so many.

    Left for generation (the answer goes on where the row ends), right for training.
    Raises `ValueError` for a row that is longer than `at_most`: none is cut.
    """
    if side not in ("left", "right"):
        raise ValueError(f"padding_side is {side!r}; it is left or right")
    longest = max((len(row) for row in rows), default=0)
    if at_most is not None and longest > at_most:
        raise ValueError(
            f"a row is {longest} tokens long, and {at_most} are allowed: truncation would cut "
            "through a medium's placeholders; shorten the text or take fewer frames"
        )
    longest = max(longest, at_least)
    input_ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask = torch.zeros_like(input_ids)
    for index, row in enumerate(rows):
        place = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        input_ids[index, place] = torch.tensor(row, dtype=torch.long)
        mask[index, place] = 1
    return input_ids, mask


def media_tensors(media: Sequence[LoadedMedia]) -> dict[str, Any]:
    """The encoders' inputs of all media, in order; kinds that are absent give no entry.

    `pixel_values_videos` (items, T, 3, H, W), or a list of (T, 3, H, W) where T differs;
    `pixel_values` (items, 3, H, W); `input_features` (items, frames, mel bins), with
    `input_features_mask` where lengths differ. A video's soundtrack counts as an item of sound.
    """
    videos = [m.pixels for m in media if m.kind == "video" and m.pixels is not None]
    images = [m.pixels for m in media if m.kind == "image" and m.pixels is not None]
    sounds = [m.features for m in media if m.features is not None]
    tensors: dict[str, Any] = {}
    if images:
        tensors["pixel_values"] = torch.stack(images)
    if videos:
        same = len({video.shape for video in videos}) == 1
        tensors["pixel_values_videos"] = torch.stack(videos) if same else videos
    if sounds:
        tensors.update(pad_features(sounds))
    _add_encoded(tensors, media)
    return tensors


def _add_encoded(tensors: dict[str, Any], media: Sequence[LoadedMedia]) -> None:
    """`encoded_videos`, `encoded_images`, `encoded_sounds`: what frozen encoders made before.

    Raises:
        ValueError: of one kind some items are encoded and some are not: their order would be lost.
    """
    pictures = {
        kind: [
            m.encoded_pictures for m in media if m.kind == kind and m.encoded_pictures is not None
        ]
        for kind in ("video", "image")
    }
    encoded: dict[str, list[torch.Tensor]] = {
        "encoded_videos": pictures["video"],
        "encoded_images": [image[0] for image in pictures["image"]],
        "encoded_sounds": [m.encoded_sound for m in media if m.encoded_sound is not None],
    }
    beside = ("pixel_values_videos", "pixel_values", "input_features")
    for (name, items), other in zip(encoded.items(), beside, strict=True):
        if not items:
            continue
        if other in tensors:
            raise ValueError(f"a batch holds both {name} and {other}")
        same = len({item.shape for item in items}) == 1
        tensors[name] = torch.stack(items) if same else items


def token_type_ids(input_ids: torch.Tensor, token_ids: dict[str, int]) -> torch.Tensor:
    """Which kind each token belongs to (B, L): 0 text, 1 image, 2 video, 3 audio."""
    types = torch.zeros_like(input_ids)
    for kind, token_id in token_ids.items():
        types[input_ids == token_id] = _TYPE_IDS[kind]
    return types
