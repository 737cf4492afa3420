"""Parameters that released checkpoints hold and nobody reads.

The vision tower is read at one of its last layers: what lies behind that layer (layers, norms,
pooling head) is stored all the same. BEATs shares one table of relative positions between its
layers and stores it once a layer. Both belong to the checkpoint; `convert` keeps them.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import AutoModel

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.modules import tensors_held
from videollama2.checkpoints.names import canonical
from videollama2.checkpoints.weights import StoredTensor
from videollama2.model.config import VideoLlama2Config

_POSITIONS = re.compile(
    r"^(model\.audio_tower\.encoder\.layers\.)[1-9]\d*(\.self_attn\.relative_.*)$"
)
# Buffers that older transformers versions wrote into files; they are computed today.
_COMPUTED = re.compile(r"\.(rotary_emb\.inv_freq|embeddings\.position_ids)$")
_TIED = {"lm_head.weight": "model.language_model.embed_tokens.weight"}


def known_unused(config: VideoLlama2Config) -> Callable[[str, StoredTensor], bool]:
    """A judge of stored tensors that no parameter of the model takes (our names)."""
    tied = bool(getattr(config.text_config, "tie_word_embeddings", False))

    @cache  # built when the first tensor is left over: our own checkpoints have none
    def tower() -> dict[str, tuple[int, ...]]:
        models: Any = AutoModel
        with torch.device("meta"):
            whole: nn.Module = models.from_config(config.vision_config)
        return {
            canonical(f"model.vision_tower.{held.name}"): tuple(held.value.shape)
            for held in tensors_held(whole)
        }

    def is_unused(name: str, tensor: StoredTensor) -> bool:
        if name in _TIED:
            return tied
        if _POSITIONS.match(name) or _COMPUTED.search(name):
            return True
        return name.startswith("model.vision_tower.") and tower().get(name) == tensor.shape

    return is_unused


def twin_of(name: str) -> str | None:
    """The parameter whose copy an unused tensor must be; None if it may hold anything."""
    found = _POSITIONS.match(name)
    return f"{found[1]}0{found[2]}" if found else _TIED.get(name)


def check_twins(unused: Mapping[str, StoredTensor], stored: Mapping[str, StoredTensor]) -> None:
    """Copies of a shared parameter must be equal, or the checkpoint means another model.

    Raises:
        CheckpointError: a copy differs from the parameter it is a copy of.
    """
    for name, tensor in unused.items():
        twin = twin_of(name)
        if twin is None or twin not in stored:
            continue
        first = stored[twin]
        if tensor.shape != first.shape or not _equal(tensor, first):
            raise CheckpointError(
                tensor.path,
                f"{tensor.name} should equal {first.name}, which it shares its weights with",
                "Set tie_word_embeddings to false in config.json if the two were trained apart"
                if name in _TIED
                else "Download the file again",
            )


def _equal(one: StoredTensor, other: StoredTensor) -> bool:
    """Whether two tensors hold the same bytes; read side by side, a few megabytes at a time."""
    if one.dtype != other.dtype:
        return torch.equal(one.read().to(other.dtype), other.read())
    pairs = zip(one.chunks(), other.chunks(), strict=True)
    return all(first == second for first, second in pairs)
