"""Tokens as they come -> pieces of text that can be shown at once."""

from typing import Any

# What a decoder writes for bytes that are no whole character yet.
INCOMPLETE = "\ufffd"


class TextStream:
    """Turns one row's tokens into text, piece by piece.

    A piece never ends within a UTF-8 character, white space at both ends of the whole is left out,
    and neither a stop string nor what follows it is ever given out. All pieces together are
    `text`. A token is decoded beside the few before it, since what a token looks like can depend
    on them.
    """

    def __init__(self, tokenizer: Any, stop_strings: tuple[str, ...] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop_strings = stop_strings
        self._tokens: list[int] = []
        self._start = 0  # decoding begins here ...
        self._shown = 0  # ... and what stands before here has been decoded
        self._pending = ""  # decoded, not yet given out
        self.text = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Take one more token; the text that can be shown now, often empty."""
        if self.stopped:
            return ""
        self._tokens.append(token)
        before = self._decode(self._tokens[self._start : self._shown])
        now = self._decode(self._tokens[self._start :])
        if now.endswith(INCOMPLETE) or not now.startswith(before):
            return ""
        self._start, self._shown = self._shown, len(self._tokens)
        return self._give(now[len(before) :], last=False)

    def finish(self) -> str:
        """The end of the answer: what was held back."""
        if self.stopped:
            return ""
        before = self._decode(self._tokens[self._start : self._shown])
        now = self._decode(self._tokens[self._start :])
        self._start = self._shown = len(self._tokens)
        return self._give(now[len(before) :] if now.startswith(before) else "", last=True)

    def _decode(self, tokens: list[int]) -> str:
        if not tokens:
            return ""
        return self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def _give(self, new: str, *, last: bool) -> str:
        self._pending += new
        if not self.text:
            self._pending = self._pending.lstrip()
        cut = _first_of(self._stop_strings, self._pending)
        if cut is not None:
            self._pending = self._pending[:cut].rstrip()
            self.stopped = True
            ready = len(self._pending)
        elif last:
            ready = len(self._pending.rstrip())
        else:
            ready = len(self._pending) - _held(self._stop_strings, self._pending)
            ready = len(self._pending[:ready].rstrip())
        piece, self._pending = self._pending[:ready], self._pending[ready:]
        self.text += piece
        return piece


def _first_of(strings: tuple[str, ...], text: str) -> int | None:
    """Where the first of the strings begins."""
    found = [place for place in (text.find(string) for string in strings) if place >= 0]
    return min(found) if found else None


def _held(strings: tuple[str, ...], text: str) -> int:
    """How many characters at the end may be the beginning of one of the strings."""
    lengths = [
        length
        for string in strings
        for length in range(1, min(len(string), len(text) + 1))
        if text.endswith(string[:length])
    ]
    return max(lengths, default=0)
