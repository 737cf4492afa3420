"""Which tokens end an answer, and which never begin one."""

from collections.abc import Iterable
from typing import Any


def stop_token_ids(model: Any, tokenizer: Any | None = None) -> frozenset[int]:
    """The stop tokens: those of the generation config (else of the config), and the tokenizer's."""
    from_config = _ids(getattr(model.generation_config, "eos_token_id", None)) or _ids(
        getattr(model.config.text_config, "eos_token_id", None)
    )
    return frozenset({*from_config, *_ids(getattr(tokenizer, "eos_token_id", None))})


def banned_token_ids(model: Any) -> frozenset[int]:
    """The media placeholders that the output layer has a score for."""
    config = model.config
    ids = (config.video_token_id, config.image_token_id, config.audio_token_id)
    return frozenset(int(token) for token in ids if token < config.text_config.vocab_size)


def _ids(value: int | Iterable[int] | None) -> list[int]:
    if value is None:
        return []
    return [value] if isinstance(value, int) else [int(token) for token in value]
