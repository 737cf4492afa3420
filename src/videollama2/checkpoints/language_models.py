"""What well-known language models look like, known without their files."""

from typing import Any


def _text(
    kind: str, width: int, inner: int, layers: int, heads: int, groups: int, words: int, **more: Any
) -> dict[str, Any]:
    return {
        "model_type": kind,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": words,
        "tie_word_embeddings": False,
        **more,
    }


# Published config.json of each.
LANGUAGE_MODELS: dict[str, dict[str, Any]] = {
    "Qwen2-0.5B-Instruct": _text(
        "qwen2", 896, 4864, 24, 14, 2, 151936, tie_word_embeddings=True
    ),
    "Qwen2-1.5B-Instruct": _text(
        "qwen2", 1536, 8960, 28, 12, 2, 151936, tie_word_embeddings=True
    ),
    "Qwen2-7B-Instruct": _text("qwen2", 3584, 18944, 28, 28, 4, 152064),
    "Qwen2-72B-Instruct": _text("qwen2", 8192, 29568, 80, 64, 8, 152064),
    "Mistral-7B-Instruct-v0.2": _text("mistral", 4096, 14336, 32, 32, 8, 32000),
    "Mixtral-8x7B-Instruct-v0.1": _text(
        "mixtral", 4096, 14336, 32, 32, 8, 32000, num_local_experts=8, num_experts_per_tok=2
    ),
}  # fmt: skip
