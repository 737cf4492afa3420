"""A model that has the words of one world, made ready for those of a larger one."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.scenes.texts import all_texts
from videollama2.scenes.world import World
from videollama2.training.starter.parts import build_config, build_tokenizer


def widen(
    taught: VideoLlama2ForConditionalGeneration, tokenizer: Any, world: World
) -> tuple[VideoLlama2ForConditionalGeneration, Any]:
    """The model with a word for everything in `world`, in float32, and its tokenizer.

    Words that it had keep their embeddings. New ones begin about the mean of the things that it
    knew, spread as those are; draw from torch's generator.

    Raises:
        ValueError: it knows nothing of that world.
    """
    wider: Any = build_tokenizer(all_texts(world))
    model = VideoLlama2ForConditionalGeneration(build_config(wider))
    rows = cast("nn.Embedding", taught.get_input_embeddings()).weight.detach().float()
    had = {token: row for token, row in tokenizer.get_vocab().items() if row < len(rows)}
    tokens: list[str] = wider.convert_ids_to_tokens(list(range(len(wider))))
    things = [wider.tokenize(name)[0] for name in world.names]
    known = rows[[had[token] for token in things if token in had]]
    if not len(known):
        raise ValueError("the model has no word for any thing of this world")
    spread = known.std(0).mean()
    words = known.mean(0) + spread * torch.randn(len(tokens), rows.shape[1])
    for row, token in enumerate(tokens):
        if token in had:
            words[row] = rows[had[token]]
    state = {name: tensor.float() for name, tensor in taught.state_dict().items()}
    tables = (name for name, tensor in state.items() if tensor.shape == rows.shape)
    model.load_state_dict(state | dict.fromkeys(tables, words))
    return model, wider
