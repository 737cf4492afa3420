"""Which files a benchmark needs, and which of them are there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.task import NeededFile, Task


@dataclass(frozen=True)
class Presence:
    """A file, whether it is there, and whether it must be; `entries` of a folder."""

    file: NeededFile
    path: Path
    there: bool
    needed: bool
    entries: int | None = None

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.there:
            return f"here, {self.entries:,} entries" if self.entries else "here"
        if self.needed:
            return "MISSING"
        return f"for split {', '.join(self.file.splits)}" if self.file.splits else "optional"


@dataclass(frozen=True)
class Preparation:
    """What is there of a benchmark.

    `questions` and `without` (those whose media are missing) are None where the annotations cannot
    be read, which `problem` then says. `first` names the first missing media.
    """

    task: Task
    root: Path
    files: tuple[Presence, ...]
    questions: int | None
    without: int | None
    first: tuple[str, ...]
    problem: str | None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        absent = any(file.needed and not file.there for file in self.files)
        return self.problem is None and not self.without and not absent


def prepare(task: Task, data: Path, choice: Choice) -> Preparation:
    """Look at every file that a benchmark needs, and at every question's media."""
    root = task.root(data)
    files = tuple(_presence(root, file, choice.split_of(task)) for file in task.files)
    try:
        questions = read_questions(task, data, choice)
    except AnnotationError as error:
        return Preparation(task, root, files, None, None, (), str(error))
    absent = {
        medium.wanted: None
        for question in questions
        for medium in question.media
        if medium.path is None
    }
    without = sum(any(one.path is None for one in question.media) for question in questions)
    return Preparation(task, root, files, len(questions), without, tuple(absent)[:5], None)


def _presence(root: Path, file: NeededFile, split: str) -> Presence:
    path = root / file.path
    meant = not file.optional and split in (file.splits or (split,))
    needed = meant and not (file.instead and (root / file.instead).exists())
    if file.path.endswith("/"):
        entries = sum(1 for _ in path.iterdir()) if path.is_dir() else 0
        return Presence(file, path, path.is_dir(), needed, entries)
    return Presence(file, path, path.is_file(), needed)
