"""The three placeholder tokens in a tokenizer."""

from __future__ import annotations

from typing import Any

from .chat import MEDIA_TOKENS

KINDS = ("video", "image", "audio")  # the order in which they are added


def media_token_ids(tokenizer: Any) -> dict[str, int] | None:
    """The ids of `<video>`, `<image>` and `<audio>`; None unless the tokenizer has all three."""
    vocabulary: dict[str, int] = tokenizer.get_added_vocab()
    if any(MEDIA_TOKENS[kind] not in vocabulary for kind in KINDS):
        return None
    return {kind: vocabulary[MEDIA_TOKENS[kind]] for kind in KINDS}


def add_media_tokens(tokenizer: Any, config: Any = None) -> dict[str, int]:
    """Add the placeholder tokens where absent and give their ids by kind.

    With a config, its `video_token_id`, `image_token_id` and `audio_token_id` must come out:
    raises `ValueError` otherwise, with the tokenizer as it was where that can be told beforehand.
    """
    wanted = None if config is None else config_token_ids(config)
    if wanted is not None and media_token_ids(tokenizer) is None and not _fits(tokenizer, wanted):
        raise ValueError(_mismatch(f"would get the ids from {len(tokenizer)} on", wanted))
    tokens = [MEDIA_TOKENS[kind] for kind in KINDS]
    tokenizer.add_tokens(tokens, special_tokens=True)
    found = media_token_ids(tokenizer)
    if found is None:
        raise ValueError(f"this tokenizer ({type(tokenizer).__name__}) takes no added tokens")
    if wanted is not None and found != wanted:
        raise ValueError(_mismatch(f"have the ids {found}", wanted))
    return found


def config_token_ids(config: Any) -> dict[str, int]:
    """The config's three placeholder ids by kind."""
    return {kind: int(getattr(config, f"{kind}_token_id")) for kind in KINDS}


def settle_token_ids(tokenizer: Any, config: Any) -> dict[str, int]:
    """The ids that a processor for this model writes: always the config's.

    The tokenizer gets the tokens where that gives them these very ids. Where its vocabulary is
    smaller than the model's (Qwen2's embedding table is rounded up) it stays without: the ids stand
    for media in `input_ids` alone and are never decoded. Raises `ValueError` where the tokenizer
    has the tokens under other ids.
    """
    wanted = config_token_ids(config)
    if media_token_ids(tokenizer) is None and not _fits(tokenizer, wanted):
        return wanted
    return add_media_tokens(tokenizer, config)


def _fits(tokenizer: Any, wanted: dict[str, int]) -> bool:
    return [wanted[kind] for kind in KINDS] == [len(tokenizer) + n for n in range(len(KINDS))]


def _mismatch(what: str, wanted: dict[str, int]) -> str:
    return (
        f"the placeholder tokens {what} in this tokenizer, but the config says {wanted}: "
        "set the config's video_token_id, image_token_id and audio_token_id to the tokenizer's"
    )
