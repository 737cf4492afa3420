"""Lists of conversations, the form of the released sound and audio-visual benchmarks."""

from __future__ import annotations

from pathlib import Path

from videollama2.evaluation.reading import Item, existing


def asked_and_answered(item: Item, placeholder: str) -> tuple[str, str]:
    """The first question of an item's `conversations`, without the placeholder, and its answer.

    Raises:
        AnnotationError: there are no two turns with text.
    """
    turns = item.items("conversations")
    if len(turns) < 2:
        raise item.wrong("conversations", "holds no question with an answer")
    question = turns[0].text("value").replace(placeholder, "").strip()
    return question, turns[1].text("value")


def named_medium(root: Path, name: str, folder: str) -> Path | None:
    """A medium as a list names it: its path beside the list, else its file's name in `folder`.

    The released lists held their authors' own paths, which exist nowhere else.
    """
    return existing(root / name) or existing(root / folder / name.replace("\\", "/").split("/")[-1])
