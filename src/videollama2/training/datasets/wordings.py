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
SOUND_LABEL = (
    "Identify the sound event in the audio.",
    "What makes the sound in this recording?",
    "Which sound is this?",
    "Name the sound that is heard.",
)
HEARD_AND_SEEN = (
    "What is seen and heard in this video?",
    "Name what makes the sound in this video.",
    "Which sound belongs to this video?",
    "What is going on in this clip? Name the sound.",
)
SCENE_LABEL = (
    "Where was this recorded?",
    "Identify the acoustic scene of the audio.",
    "In what kind of place is this sound heard?",
    "Name the place that this recording is from.",
)
VOICE_LABEL = (
    "Identify the human sound in the audio.",
    "Which human sound is this?",
    "What does the person in this recording do?",
    "Name the sound that the person makes.",
)
ACTION_LABEL = (
    "What is the person in the video doing?",
    "Which action is shown in this video?",
    "Name the action in this clip.",
    "What is done in this video?",
)
# The released evaluation prompts for TUT2017 and VocalSound, to the letter.
_ONLY_THE_LETTER = (
    "Answer with the option's letter from the given choices directly and only give the best option."
)
SCENE_CHOICE = (
    "Question: Identify the sound event in the audio.\nOptions:\n{options}." + _ONLY_THE_LETTER,
)
VOICE_CHOICE = ("Identify the human sound in the audio.\nOptions:\n{options}." + _ONLY_THE_LETTER,)
# The released prompt for multiple choice on videos (MVBench).
QUESTION_CHOICE = ("Question: {question}\nOptions:\n{options}" + _ONLY_THE_LETTER,)
QUESTION = ("{question}",)


def option_lines(labels: Sequence[str]) -> str:
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
