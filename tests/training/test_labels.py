"""Labels, held to the released way: re-tokenising growing prefixes (released `preprocess`)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from videollama2.processing.chat import MISTRAL_TEMPLATE, QWEN2_TEMPLATE
from videollama2.training.errors import RecordError
from videollama2.training.labels import (
    IGNORED,
    ChatEncoder,
    Labelled,
    expand,
    label,
    truncate,
)
from videollama2.training.records import Record, record_from

TEMPLATES = {"qwen2": QWEN2_TEMPLATE, "mistral": MISTRAL_TEMPLATE, "own": None}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """One of our own: these tests give it a first token."""
    own = tiny.build_tokenizer()
    own.bos_token = "<pad>"
    return own


@pytest.fixture(scope="module", params=TEMPLATES)
def encoder(request: pytest.FixtureRequest, tokenizer: Any) -> ChatEncoder:
    return make_encoder(tokenizer, TEMPLATES[request.param])


def make_encoder(tokenizer: Any, template: str | None = None) -> ChatEncoder:
    ids = {kind: tokenizer.convert_tokens_to_ids(f"<{kind}>") for kind in KINDS}
    return ChatEncoder(
        SimpleNamespace(
            tokenizer=tokenizer, token_ids=ids, chat_template=template, system_text=None
        )
    )


KINDS = ("video", "image", "audio")


def record(*texts: str, kind: str | None = "video") -> Record:
    messages = [
        {"from": "gpt" if index % 2 else "human", "value": text} for index, text in enumerate(texts)
    ]
    media = {}
    if kind is not None:
        messages[0]["value"] = f"<{kind}>\n{texts[0]}"
        media = {kind: f"a.{ {'video': 'mp4', 'image': 'png', 'audio': 'wav'}[kind] }"}
    return record_from({"id": "r", "conversations": messages, **media})


def released_encode(encoder: ChatEncoder, text: str, modal: str | None) -> list[int]:
    """`tokenizer_multimodal_token`: chunks around the one modal string, its id between them."""
    chunks = text.split(modal) if modal else [text]
    ids: list[int] = []
    for index, chunk in enumerate(chunks):
        if index and modal:
            ids.append(encoder.token_ids[modal[1:-1]])
        ids += encoder.tokenizer(chunk, add_special_tokens=False).input_ids
    return ids


def released_labels(
    encoder: ChatEncoder, messages: list[dict[str, str]], modal: str | None
) -> tuple[list[int], list[int]]:
    """Official `preprocess`, as described."""

    def render(turns: list[dict[str, str]], **options: Any) -> str:
        return encoder.tokenizer.apply_chat_template(
            turns, chat_template=encoder.template, tokenize=False, **options
        )

    ids = released_encode(encoder, render(messages), modal)
    labels = list(ids)
    at = 0
    for index in range(0, len(messages), 2):
        prompt = render(messages[: index + 1], add_generation_prompt=True)
        through = render(messages[: index + 2], add_generation_prompt=False)
        stop = len(released_encode(encoder, prompt, modal))
        labels[at:stop] = [IGNORED] * (stop - at)
        at = len(released_encode(encoder, through, modal))
    return ids, labels


TEXT = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=20).filter(
    lambda text: text.strip() and not any(mark in text for mark in "<|>")
)


@given(st.lists(TEXT, min_size=1, max_size=4), st.data())
def test_answers_are_learned_as_released(
    encoder: ChatEncoder, answers: list[str], data: Any
) -> None:
    questions = [data.draw(TEXT).strip() for _ in answers]
    kind = data.draw(st.sampled_from([None, *KINDS]))
    texts = [text for turn in zip(questions, answers, strict=True) for text in turn]
    labelled = label(record(*texts, kind=kind), encoder)
    modal = None if kind is None else f"<{kind}>"
    messages = [
        {"role": "assistant" if index % 2 else "user", "content": text}
        for index, text in enumerate(texts)
    ]
    if modal:
        messages[0]["content"] = f"{modal}\n{texts[0]}"
    assert (list(labelled.ids), list(labelled.labels)) == released_labels(encoder, messages, modal)


def spoken(encoder: ChatEncoder, labelled: Labelled) -> str:
    return encoder.tokenizer.decode([token for token in labelled.labels if token != IGNORED])


@pytest.mark.parametrize(
    ("template", "learned"),
    [
        (QWEN2_TEMPLATE, "A.<|im_end|>\nB.<|im_end|>\n"),
        (MISTRAL_TEMPLATE, " A.<|im_end|> B.<|im_end|>"),
    ],
)
def test_what_is_learned_in_words(tokenizer: Any, template: str, learned: str) -> None:
    encoder = make_encoder(tokenizer, template)
    labelled = label(record("one?", "A.", "two?", "B."), encoder)
    assert spoken(encoder, labelled) == learned
    assert labelled.learned == len(encoder.encode(learned))


def test_plain_forms(tokenizer: Any) -> None:
    encoder = make_encoder(tokenizer, QWEN2_TEMPLATE)
    captioned = record("Say what is heard.", "Rain.", kind="audio")
    plain = label(captioned, encoder, "plain")
    assert spoken(encoder, plain) == "Rain.<|im_end|>\n"
    assert encoder.tokenizer.decode(plain.ids) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<audio><|im_end|>\n<|im_start|>assistant\nRain.<|im_end|>\n"
    )
    main = label(captioned, encoder, "plain_main")
    assert encoder.tokenizer.decode(main.ids) == "<audio>\nSay what is heard. Rain."
    assert spoken(encoder, main) == "\nSay what is heard. Rain."
    with pytest.raises(RecordError, match="one answer"):
        label(record("a", "b", "c", "d"), encoder, "plain")
    with pytest.raises(RecordError, match="a medium"):
        label(record("a", "b", kind=None), encoder, "plain")


def test_templates_that_refuse_or_rewrite(tokenizer: Any) -> None:
    refusing = make_encoder(tokenizer, "{{ raise_exception('no system') }}")
    with pytest.raises(RecordError, match="no system"):
        label(record("a", "b"), refusing)
    last_only = "{{ messages[-1]['content'] }}"
    with pytest.raises(RecordError, match="changes earlier turns"):
        label(record("a", "b"), make_encoder(tokenizer, last_only))


@given(
    st.integers(1, 80),
    st.integers(1, 120),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_cutting_keeps_media_whole(
    tokenizer: Any, texts: int, tokens: int, first: int, second: int
) -> None:
    encoder = make_encoder(tokenizer, QWEN2_TEMPLATE)
    several = record_from(
        {
            "video": "a.mp4",
            "image": "b.png",
            "conversations": [
                {"from": "human", "value": "<video>\nand\n<image>\nalike?"},
                {"from": "gpt", "value": "They are."},
            ],
        }
    )
    whole = label(several, encoder)
    cut = truncate(whole, texts)
    assert cut.ids == whole.ids[:texts]
    assert len(cut.media) == sum(cut.ids.count(encoder.token_ids[kind]) for kind in KINDS)
    assert cut.media == whole.media[: len(cut.media)]
    runs = [[("video", first), ("audio", 3)], [("image", second)]]
    long = expand(cut, runs, encoder.token_ids, tokens)
    assert len(long.ids) == len(long.labels) <= tokens
    counts = [long.ids.count(encoder.token_ids[kind]) for kind in ("video", "audio", "image")]
    assert counts == [
        first if long.media > 0 else 0,
        3 if long.media > 0 else 0,
        second if long.media > 1 else 0,
    ]
    kept = [token for token in long.ids if token not in encoder.token_ids.values()]
    text = [token for token in cut.ids if token not in encoder.token_ids.values()]
    assert kept == text[: len(kept)]
    media = set(encoder.token_ids.values())
    assert all(
        learned == IGNORED for token, learned in zip(long.ids, long.labels, strict=True)
        if token in media
    )  # fmt: skip
    if tokens >= 120:
        assert long == expand(cut, runs, encoder.token_ids)
