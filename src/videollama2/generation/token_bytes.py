"""The bytes that one token stands for: a character may be spread over several."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\u2581"  # how SentencePiece writes a space


class TokenBytes:
    """What each token of a tokenizer adds to a text, in UTF-8, even a part of a character.

    Byte-level tokenizers (GPT-2's: 256 printable characters stand for the bytes,
    https://github.com/openai/gpt-2) and SentencePiece with byte fallback are understood; a special
    or added token is its name.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._whole = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._byte_level = backend is not None and "ByteLevel" in str(backend.decoder)

    def __call__(self, token: int) -> bytes:
        """The bytes of one token; none for a row of the embedding table that no word has."""
        piece: str | None = self._tokenizer.convert_ids_to_tokens(token)
        if piece is None:
            return b""
        if piece in self._whole:
            return piece.encode()
        if self._byte_level:
            table = byte_of_character()
            return bytes(table[character] for character in piece)
        fallback = _BYTE.fullmatch(piece)
        return bytes([int(fallback[1], 16)]) if fallback else piece.replace(_SPACE, " ").encode()


@cache
def byte_of_character() -> dict[str, int]:
    """Printable bytes stand for themselves; the others, in order, for what follows U+0100."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(0x100 + place): byte for place, byte in enumerate(others)
    }
