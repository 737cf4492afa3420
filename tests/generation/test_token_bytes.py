"""The bytes of tokens, one after the other, are the text."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from videollama2.generation.token_bytes import TokenBytes, byte_of_character

TEXT = "grün 漢字 \U0001f600 and\n\ttabs \x00\x7f"


def byte_level() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["the tabs and the grün"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def sentence_piece() -> PreTrainedTokenizerFast:
    """As Llama's and Mistral's: a space is U+2581, what is not known comes byte by byte."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁grünandtbs", "an", "and"]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    merges = [("a", "n"), ("an", "d")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


@pytest.mark.parametrize("make", [byte_level, sentence_piece])
def test_bytes_make_up_the_text(make: object) -> None:
    tokenizer = make()  # type: ignore[operator]
    known = TokenBytes(tokenizer)
    tokens = tokenizer.encode(TEXT, add_special_tokens=False)
    assert b"".join(known(token) for token in tokens).decode() == TEXT
    assert any("\ufffd" in known(token).decode(errors="replace") for token in tokens)
    assert known(tokenizer.eos_token_id) == b"<end>"
    assert known(len(tokenizer) + 5) == b""


def test_the_alphabet_is_that_of_the_library() -> None:
    assert set(byte_of_character()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(byte_of_character().values()) == list(range(256))
