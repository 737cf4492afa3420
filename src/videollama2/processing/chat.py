"""Conversations -> one text with a placeholder for each medium.

Checkpoints' chat templates take plain strings as content, so a list of content parts is first
flattened the way the released code writes it: the media's placeholder, a newline, the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from .parts import Part, kind_of, part_from_message

VIDEO_TOKEN, IMAGE_TOKEN, AUDIO_TOKEN = "<video>", "<image>", "<audio>"
MEDIA_TOKENS: dict[str, str] = {"video": VIDEO_TOKEN, "image": IMAGE_TOKEN, "audio": AUDIO_TOKEN}
PLACEHOLDER = re.compile("|".join(map(re.escape, MEDIA_TOKENS.values())))

Message = Mapping[str, Any]
Conversation = Sequence[Message]

# The system text of the released `mm_infer`, two spaces before "Your answers" and all.
RELEASED_SYSTEM_TEXT = (
    "<<SYS>>\nYou are a helpful, respectful and honest assistant. Always answer as helpfully as "
    "possible, while being safe.  Your answers should not include any harmful, unethical, racist, "
    "sexist, toxic, dangerous, or illegal content. Please ensure that your responses are socially "
    "unbiased and positive in nature.\nIf a question does not make any sense, or is not factually "
    "coherent, explain why instead of answering something not correct. If you don't know the "
    "answer to a question, please don't share false information.\n<</SYS>>"
)
_WITH_SYSTEM_TEXT = ("mistral", "mixtral")

# For released checkpoints whose tokenizer brings no template of its own.
MISTRAL_TEMPLATE = (
    "{{ bos_token }}"
    "{% set system = namespace(text='') %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{% set system.text = message['content'] + '\\n\\n' %}"
    "{% elif message['role'] == 'user' %}"
    "{{ '[INST] ' + system.text + message['content'] + ' [/INST]' }}{% set system.text = '' %}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
QWEN2_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def released_template(text_model_type: str) -> str | None:
    """The template of a released language model family, None where it has to bring its own."""
    if text_model_type in ("mistral", "mixtral"):
        return MISTRAL_TEMPLATE
    return QWEN2_TEMPLATE if text_model_type.startswith("qwen") else None


def released_system_text(text_model_type: str) -> str | None:
    """The system text that the released code puts first; only its Mistral families have one."""
    return RELEASED_SYSTEM_TEXT if text_model_type in _WITH_SYSTEM_TEXT else None


def flatten(conversation: Conversation) -> tuple[list[dict[str, Any]], list[Part]]:
    """Messages whose content is text with placeholders, and the media in the order of these.

    Raises `ValueError` for a placeholder written in a text part, where it would be taken for a
    medium, and for parts that are not understood.
    """
    messages: list[dict[str, Any]] = []
    media: list[Part] = []
    for message in conversation:
        content: Any = message.get("content")
        if content is None:
            content = ""
        if isinstance(content, str):
            flat = _checked(content)
        elif not isinstance(content, Sequence):
            raise ValueError(f"a message's content is text or a list of parts, not {content!r:.80}")
        else:
            flat, found = _flatten_parts(cast(Sequence[Any], content))
            media.extend(found)
        messages.append({**message, "content": flat})
    return messages, media


def _flatten_parts(parts: Sequence[Any]) -> tuple[str, list[Part]]:
    text, media = "", list[Part]()
    for block in parts:
        if isinstance(block, str):
            text += _checked(block)
        elif not isinstance(block, Mapping):
            raise ValueError(f"a content part is text or an object, not {block!r:.80}")
        elif (fields := cast("Mapping[str, Any]", block)).get("type") == "text":
            text += _checked(str(fields.get("text", "")))
        else:
            part = part_from_message(fields)
            media.append(part)
            before = "\n" if text and not text.endswith("\n") else ""
            text += before + MEDIA_TOKENS[kind_of(part)] + "\n"
    return text, media


def _checked(text: str) -> str:
    found = PLACEHOLDER.search(text)
    if found:
        raise ValueError(
            f"the text holds {found.group()!r}, which stands for a medium and cannot be written "
            "out: leave it away and pass the medium as a part of its own, "
            f'{{"type": "{found.group()[1:-1]}", "path": ...}}'
        )
    return text


def with_system_text(
    messages: list[dict[str, Any]], system_text: str | None
) -> list[dict[str, Any]]:
    """The messages with this system text first, unless they bring their own."""
    if system_text is None or (messages and messages[0].get("role") == "system"):
        return messages
    return [{"role": "system", "content": system_text}, *messages]


def takes_system_text(render: Callable[[list[dict[str, Any]]], str]) -> bool:
    """Whether a template renders a system message at all; some refuse the role."""
    from jinja2 import TemplateError

    user = {"role": "user", "content": "?"}
    try:
        render([{"role": "system", "content": "!"}, user])
    except TemplateError:
        return False
    return True


def is_conversation(value: Sequence[Any]) -> bool:
    """Whether this is one conversation (messages) rather than a batch of them."""
    return not value or isinstance(value[0], Mapping)
