"""Tiny language models of the families that people train, with what is odd about each."""

from __future__ import annotations

from typing import Any

import tiny
from transformers import AutoConfig

from videollama2.model.config import VideoLlama2Config

TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
    "initializer_range": 0.3,
    "bos_token_id": None,
}
WINDOW = 12  # shorter than a clip's tokens
FAMILIES: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": WINDOW},
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "llama": {},
    "gemma2": {
        "sliding_window": WINDOW,
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 3.0,
        "query_pre_attn_scalar": 8,
    },
    "phi3": {"sliding_window": WINDOW},
    "qwen3": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": WINDOW},
}


def config_of(family: str, tokenizer: Any, attention: str | None = None) -> VideoLlama2Config:
    """The tiny model's config around a language model of this family."""
    text = AutoConfig.for_model(
        family,
        **{
            **TEXT,
            "vocab_size": len(tokenizer),
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            **FAMILIES[family],
        },
    )
    config = tiny.build_config(tokenizer, text_config=text)
    if attention is not None:
        config._attn_implementation = attention
    return config
