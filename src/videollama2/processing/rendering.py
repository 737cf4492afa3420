"""Conversations -> text with one placeholder a medium; texts cut at their placeholders."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .batch import Piece, split_placeholders
from .chat import MEDIA_TOKENS, Conversation, flatten, takes_system_text, with_system_text
from .parts import LoadedMedia, Part, kind_of
from .tokens import KINDS


def render(
    conversation: Conversation,
    chat_template: str | None,
    tokenizer: Any,
    system_text: str | None,
    **template_kwargs: Any,
) -> tuple[str, dict[str, list[Part]]]:
    """A conversation's text with placeholders, and its media by kind.

    Raises:
        ValueError: there is no template, or it drops a medium.
    """
    template = chat_template or tokenizer.chat_template
    if template is None:
        raise ValueError(
            "neither this processor nor its tokenizer has a chat template: pass chat_template, "
            "or write the prompt yourself and call the processor with text="
        )

    def to_text(messages: list[dict[str, Any]], **options: Any) -> str:
        return tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, **options
        )

    messages, parts = flatten(conversation)
    if system_text is not None and takes_system_text(to_text):
        messages = with_system_text(messages, system_text)
    text = to_text(messages, **template_kwargs)
    by_kind: dict[str, list[Part]] = {kind: [] for kind in KINDS}
    for part in parts:
        by_kind[kind_of(part)].append(part)
    cut = split_placeholders(text)
    for kind, found in by_kind.items():
        if cut.count(MEDIA_TOKENS[kind]) != len(found):
            raise ValueError(
                f"the chat template wrote {cut.count(MEDIA_TOKENS[kind])} {MEDIA_TOKENS[kind]} "
                f"where the conversation has {len(found)}"
            )
    return text, by_kind


def fill(
    texts: Sequence[str],
    media: Mapping[str, Sequence[Part]],
    load: Callable[[Part], LoadedMedia],
) -> list[list[Piece]]:
    """Texts cut at their placeholders, each placeholder replaced by its medium, loaded.

    Raises:
        ValueError: there are too few or too many of a kind; it says which.
    """
    cut = [split_placeholders(text) for text in texts]
    for kind, token in MEDIA_TOKENS.items():
        placeholders = [pieces.count(token) for pieces in cut]
        given = len(media.get(kind, ()))
        if sum(placeholders) != given:
            raise ValueError(
                f"{kind}: {given} given, but the texts hold {sum(placeholders)} {token} "
                f"({placeholders} by row): write one placeholder for each"
            )
    waiting = {MEDIA_TOKENS[kind]: deque(parts) for kind, parts in media.items()}
    return [[load(waiting[p].popleft()) if p in waiting else p for p in pieces] for pieces in cut]
