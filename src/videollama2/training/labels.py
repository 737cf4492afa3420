"""Records -> token ids and labels: only answers and their end marker are learned, media never.

Forms (official `train.py`): `answers` is the released `preprocess`, `plain`
the audio branch's `preprocess_plain`, `plain_main` that of the main branch, which learns the
question too and has no end marker.

Until the media are loaded each stands as one placeholder id, so that cutting a sequence can
never cut a medium's run in two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

from jinja2 import TemplateError

from videollama2.processing.batch import Run, split_placeholders
from videollama2.processing.chat import (
    MEDIA_TOKENS,
    flatten,
    takes_system_text,
    with_system_text,
)
from videollama2.processing.parts import AudioInput, VideoInput, kind_of
from videollama2.training.records import Medium, Record

IGNORED = -100
LabelForm = Literal["answers", "plain", "plain_main"]
Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Labelled:
    """Token ids and labels of the same length; each medium is one placeholder id, not learned.

    `places` are the indices at which the media stand, in their order.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    media: tuple[Medium, ...]
    places: tuple[int, ...]

    @property
    def learned(self) -> int:
        """How many tokens are learned. The first is never predicted, so it does not count."""
        return sum(label != IGNORED for label in self.labels[1:])


@dataclass(frozen=True)
class Expanded:
    """Token ids and labels with every medium as long as its tokens; `media` counts those kept."""

    ids: list[int]
    labels: list[int]
    media: int


class ChatEncoder:
    """Conversations to ids as a processor writes them.

    `system_text`: whether the processor's own system text goes first. The released code trained
    without it.
    """

    def __init__(self, processor: Any, *, system_text: bool = False) -> None:
        self.tokenizer = processor.tokenizer
        self.token_ids: dict[str, int] = processor.token_ids
        self.template: str | None = processor.chat_template or self.tokenizer.chat_template
        text: str | None = processor.system_text if system_text else None
        self.system_text = text if text and takes_system_text(self.text) else None
        self._ids = {MEDIA_TOKENS[kind]: token_id for kind, token_id in self.token_ids.items()}

    def text(self, messages: Messages, *, add_generation_prompt: bool = False) -> str:
        """Messages of plain text through the chat template."""
        return self.tokenizer.apply_chat_template(
            messages,
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )

    def encode(self, text: str) -> list[int]:
        """Text with placeholders -> ids; piece by piece, as the processor does."""
        ids: list[int] = []
        for piece in split_placeholders(text):
            if piece in self._ids:
                ids.append(self._ids[piece])
            else:
                ids += self.tokenizer.encode(piece, add_special_tokens=False)
        return ids

    def messages(self, record: Record) -> Messages:
        """A record's messages as text with placeholders."""
        conversation = [
            {
                "role": turn.role,
                "content": [
                    {"type": "text", "text": part}
                    if isinstance(part, str)
                    else {"type": kind_of(part), kind_of(part): part}
                    for part in turn.parts
                ],
            }
            for turn in record.turns
        ]
        messages, _ = flatten(conversation)
        for message, turn in zip(messages, record.turns, strict=True):
            if turn.parts and not isinstance(turn.parts[-1], str):
                # as released: where nothing follows a medium, no newline does either
                message["content"] = message["content"].removesuffix("\n")
        return with_system_text(messages, self.system_text)


def label(record: Record, encoder: ChatEncoder, form: LabelForm = "answers") -> Labelled:
    """Ids and labels of a record.

    Raises:
        RecordError: the record does not fit the form, or the chat template refuses it.
    """
    check_form(record, form)
    try:
        if form == "answers":
            ids, labels = _answers(record, encoder)
        elif form == "plain":
            ids, labels = _plain(record, encoder)
        else:
            ids, labels = _plain_main(record, encoder)
    except TemplateError as error:
        raise record.error(f"the chat template refuses it: {error}") from error
    placeholders = set(encoder.token_ids.values())
    places = tuple(place for place, token in enumerate(ids) if token in placeholders)
    if len(places) != len(record.media):
        raise record.error(
            f"the chat template wrote {len(places)} media where the record has {len(record.media)}"
        )
    for place in places:
        labels[place] = IGNORED
    return Labelled(tuple(ids), tuple(labels), record.media, places)


def check_form(record: Record, form: LabelForm) -> None:
    """Whether a record can be labelled so, told without a tokenizer.

    Raises:
        RecordError: it cannot.
    """
    if form == "plain" and (len(record.turns) != 2 or not record.media):
        raise record.error("plain labels take a medium and one answer")
    if form == "plain_main" and record.turns[0].role == "system":
        raise record.error("plain labels take no system message")


def check_unheard(record: Record) -> None:
    """Whether a model without ears can take a record.

    Raises:
        RecordError: it holds a sound, or insists on a video's.
    """
    for medium in record.media:
        if isinstance(medium, AudioInput) or (isinstance(medium, VideoInput) and medium.sound):
            raise record.error(
                "sound for a model without ears: start from one that hears "
                "(videollama2 compose OUT --model M --audio BEATS)",
                "wrong kind",
            )


def truncate(labelled: Labelled, max_text_tokens: int) -> Labelled:
    """The first `max_text_tokens` ids, a medium counting as one, as released.

    A medium is kept whole or left out.
    """
    places = tuple(place for place in labelled.places if place < max_text_tokens)
    return Labelled(
        labelled.ids[:max_text_tokens],
        labelled.labels[:max_text_tokens],
        labelled.media[: len(places)],
        places,
    )


def expand(
    labelled: Labelled,
    runs: Sequence[Sequence[Run]],
    token_ids: Mapping[str, int],
    max_tokens: int | None = None,
) -> Expanded:
    """Each medium's placeholder as its runs, none of them learned.

    `runs` are (kind, tokens) of each medium. From `max_tokens` on the rest is cut off, before the
    medium that would be cut in two.
    """
    places = set(labelled.places)
    waiting = iter(runs)
    ids: list[int] = []
    labels: list[int] = []
    media = 0
    for place, token in enumerate(labelled.ids):
        new = [token]
        if place in places:
            new = [token_ids[kind] for kind, count in next(waiting) for _ in range(count)]
        if max_tokens is not None and len(ids) + len(new) > max_tokens:
            break
        ids += new
        labels += [labelled.labels[place]] * len(new)
        media += place in places
    return Expanded(ids, labels, media)


def _answers(record: Record, encoder: ChatEncoder) -> tuple[list[int], list[int]]:
    messages = encoder.messages(record)
    return _learn_answers(record, encoder, messages)


def _learn_answers(
    record: Record, encoder: ChatEncoder, messages: Messages
) -> tuple[list[int], list[int]]:
    whole = encoder.text(messages)
    ids = encoder.encode(whole)
    labels = [IGNORED] * len(ids)
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = encoder.text(messages[:index], add_generation_prompt=True)
        through = encoder.text(messages[: index + 1])
        if not (whole.startswith(prompt) and whole.startswith(through)):
            raise record.error("the chat template changes earlier turns when later ones follow")
        first, stop = (_common(encoder.encode(text), ids) for text in (prompt, through))
        labels[first:stop] = ids[first:stop]
    return ids, labels


def _plain(record: Record, encoder: ChatEncoder) -> tuple[list[int], list[int]]:
    """A question that is the media alone, then the answer; through the chat template."""
    question = "".join(MEDIA_TOKENS[kind_of(medium)] for medium in record.media)
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": record.turns[-1].text},
    ]
    return _learn_answers(record, encoder, with_system_text(messages, encoder.system_text))


def _plain_main(record: Record, encoder: ChatEncoder) -> tuple[list[int], list[int]]:
    """All texts joined by a space, all of it learned; no template, no end marker."""
    texts = [str(message["content"]) for message in encoder.messages(record)]
    ids = encoder.encode(" ".join(texts))
    return ids, list(ids)


def _common(prefix: Sequence[int], ids: Sequence[int]) -> int:
    """How many first ids are the same: a token across the border belongs to what follows."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(prefix, ids, strict=False))))
