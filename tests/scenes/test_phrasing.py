from __future__ import annotations

import re

import numpy as np
import pytest

from videollama2.scenes import (
    CLOSED_KINDS,
    OPEN_KINDS,
    UNANSWERABLE_KINDS,
    World,
    all_texts,
    ask,
    draw_scene,
)
from videollama2.scenes.phrasing import article, expansions, listed, phrasings, sentence
from videollama2.scenes.phrasing import word_question as word

KINDS = (*CLOSED_KINDS, *OPEN_KINDS)  # an unanswerable question is worded as another kind


def _wordings(split: str, kind: str) -> set[str]:
    return {text for core in phrasings().templates[split][kind] for text in expansions(core)}


def _words(texts: set[str]) -> set[str]:
    return {found for text in texts for found in re.findall(r"[a-z_{}]+", text.lower())}


def test_expansions() -> None:
    assert list(expansions("a [b|c] d[e|]")) == ["a b de", "a b d", "a c de", "a c d"]
    assert list(expansions("plain")) == ["plain"]


def test_articles_and_lists() -> None:
    assert [article(name) for name in ("dog", "apple", "umbrella")] == [
        "a dog",
        "an apple",
        "an umbrella",
    ]
    assert [article(name) for name in ("hourglass", "house", "scissors", "sushi")] == [
        "an hourglass",
        "a house",
        "scissors",
        "sushi",
    ]
    assert listed(["a", "b", "c"], "or") == "a, b or c"
    assert listed(["a"], "or") == "a"
    assert listed([], "or") == ""


def test_capitals() -> None:
    text = sentence("Tell me: ", "one is shown: a, b. which one?", " Be brief.")
    assert text == "Tell me: one is shown: a, b. Which one? Be brief."
    assert sentence("", "where?", "") == "Where?"


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_many_phrasings(kind: str, world: World) -> None:
    slots = {"x": "star", "y": "moon", "an_x": "a star", "colour": "red", "options": "a, b, c or d"}
    rng = np.random.default_rng(0)
    met = {word(kind, slots, rng, "train", ending=True)[0].lower() for _ in range(600)}
    assert len(met) >= 60
    assert len(phrasings().templates["train"][kind]) >= 8
    assert 3 <= len(phrasings().templates["unseen"][kind]) <= 6
    assert len(_wordings("train", kind)) >= 15


def test_held_out_wordings_never_train() -> None:
    train = {text for kind in KINDS for text in _wordings("train", kind)}
    unseen = {text for kind in KINDS for text in _wordings("unseen", kind)}
    assert not train & unseen
    # nor with another article or name in the gap
    flat = {re.sub(r"\{an_x\}|the \{x\}|\{x\}", "{x}", text) for text in train}
    assert not flat & {re.sub(r"\{an_x\}|the \{x\}|\{x\}", "{x}", text) for text in unseen}


def test_held_out_wordings_use_words_that_train() -> None:
    grammar = phrasings()
    known = _words({text for kind in KINDS for text in _wordings("train", kind)})
    known |= _words({text for core in grammar.openers for text in expansions(core)})
    known |= {"zero", "one", "two", "three", "four", "top", "bottom"}  # these are answers
    unseen = _words({text for kind in KINDS for text in _wordings("unseen", kind)})
    assert unseen <= known


def test_no_wording_asks_for_two_kinds() -> None:
    owner: dict[str, str] = {}
    for kind in KINDS:
        for text in _wordings("train", kind) | _wordings("unseen", kind):
            assert owner.setdefault(text, kind) == kind


def test_split_and_template(world: World) -> None:
    rng = np.random.default_rng(3)
    for split in ("train", "unseen"):
        for _ in range(20):
            for question in ask(draw_scene(world, rng), world, rng, split=split):
                kind, of, number = question.template.split("/")
                assert of == split
                if question.kind in UNANSWERABLE_KINDS:
                    assert kind in {"place", "movement", "plate_colour"}
                else:
                    assert kind == question.kind
                core = phrasings().templates[split][kind][int(number)]
                patterns = [
                    re.sub(r"\\\{\w+\\\}", ".+", re.escape(text.rstrip("?.")))
                    for text in expansions(core)
                ]
                assert re.search("|".join(patterns), question.text.lower())
    with pytest.raises(ValueError, match="train, unseen"):
        ask(draw_scene(world, rng), world, rng, split="test")


def test_all_texts_hold_every_word(world: World) -> None:
    rng = np.random.default_rng(8)
    known = {found for text in all_texts(world) for found in re.findall(r"[A-Za-z]+|[^\w\s]", text)}
    for turn in range(600):
        split = ("train", "unseen")[turn % 2]
        for question in ask(draw_scene(world, rng), world, rng, 99, split):
            for text in (question.text, question.answer):
                assert set(re.findall(r"[A-Za-z]+|[^\w\s]", text)) <= known, text
