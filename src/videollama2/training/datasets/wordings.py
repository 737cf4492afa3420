"""Wordings of what is asked, and the choice among them.

The evaluation prompts are the released scripts' (exact); the others are ours: the paper's
mixtures, and with them its prompts, were not released.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from string import Formatter

VIDEO_CAPTION = (
    "Describe the video.",
    "Describe what happens in this video.",
    "What is shown in this video?",
    "Write a caption for this video.",
    "Say in one sentence what is seen in this clip.",
    "What takes place in the clip?",
)
VIDEO_PARAGRAPH = (
    "Describe the video in detail.",
    "Describe what happens in this video from beginning to end.",
    "Tell, in order, what takes place in this video.",
    "What happens in this video, one thing after the other?",
)
IMAGE_CAPTION = (
    "Describe the image.",
    "What is shown in this picture?",
    "Write a caption for this image.",
    "Say what is seen in this picture.",
)
IMAGE_PARAGRAPH = (
    "Describe the image in detail.",
    "Give a full description of this picture.",
    "What is seen in this image? Leave nothing out.",
    "Describe this picture, every part of it.",
)
# The first is the released data example's.
SOUND_CAPTION = (
    "Please describe the sound event within the audio.",
    "Describe the audio.",
    "What is heard in this recording?",
    "Write a caption for this sound.",
    "Say in one sentence what can be heard.",
    "Which sounds does the audio hold?",
)
MUSIC_CAPTION = (
    "Describe the music.",
    "What does this piece of music sound like?",
    "Write a caption for this music.",
    "Describe the instruments, the mood and the style of this music.",
)
QUESTION = ("{question}",)


def scene_options(labels: Sequence[str]) -> str:
    """The lines of lettered options, as the released evaluation prompts write them."""
    return "".join(f"({letter(number)}) {label}\n" for number, label in enumerate(labels))


def letter(number: int) -> str:
    """0 -> A, 1 -> B, ..."""
    return chr(ord("A") + number)


def stable_hash(text: str) -> int:
    """A 64-bit number of a text, the same on every machine and in every run."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def choose(prompts: Sequence[str], record_id: str) -> str:
    """One of the prompts, by the hash of the record's id."""
    return prompts[stable_hash(f"wording\0{record_id}") % len(prompts)]


def check_prompts(prompts: Sequence[str], slots: Sequence[str]) -> None:
    """See that prompts fill in nothing but these slots.

    Raises:
        ValueError: a prompt is empty, its braces are wrong, or it names another slot.
    """
    for prompt in prompts:
        if not prompt.strip():
            raise ValueError("a phrasing is empty")
        try:
            parsed = list(Formatter().parse(prompt))
        except ValueError as error:
            raise ValueError(f"phrasing {prompt!r}: {error} (write {{{{ for a brace)") from None
        for _, name, form, conversion in parsed:
            if name is not None and (name not in slots or form or conversion):
                allowed = ", ".join(f"{{{slot}}}" for slot in slots) or "nothing"
                raise ValueError(f"phrasing {prompt!r}: {{{name}}} cannot be filled in; {allowed}")
