"""What a data set says of itself: where it comes from, its files and fields, what it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from videollama2.training.datasets.errors import DataSetError
from videollama2.training.datasets.record import Record, Skipped

Stage = Literal["pre-training", "fine-tuning", "audio", "audio-visual", "quick start"]
STAGES: tuple[Stage, ...] = ("pre-training", "fine-tuning", "audio", "audio-visual", "quick start")

# From annotation files, then lookup files, to records and what gave none.
Read = Callable[[Sequence[Path], Sequence[Path]], Iterator[Record | Skipped]]


@dataclass(frozen=True)
class Task:
    """One way to make records of a data set.

    Attributes:
        name: what `--task` calls it.
        files: the annotation files, relative to the root, as published.
        fields: what is read of them.
        prompts: wordings; one is chosen by the hash of a record's id. {slots} are filled in.
        read: turns the files into records.
        lookups: further files (label names, ids), as published.
        slots: what `prompts` may fill in.
        any_number: one of the files is enough when `--annotation` names it.
    """

    name: str
    files: tuple[str, ...]
    fields: tuple[str, ...]
    prompts: tuple[str, ...]
    read: Read
    lookups: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()
    any_number: bool = False


@dataclass(frozen=True)
class DataSet:
    """A data set of the paper.

    Attributes:
        name: what the command line calls it.
        title: what its publisher calls it.
        kind: what its records show ("video", "image", "audio", or several).
        source: where it is published.
        licence: the terms its publisher states.
        licence_verified: its publisher's own words on them were looked up.
        stage: where the paper uses it.
        paper_size: how many records the paper took, where it says so.
        paper_note: what is known besides.
        verified: its annotation form was looked up: at the publisher's or in the publisher's code,
            else in public code that reads it.
        tasks: ways to make records; the first is what is done unless another is asked for.
    """

    name: str
    title: str
    kind: str
    source: str
    licence: str
    stage: Stage
    tasks: tuple[Task, ...]
    paper_size: int | None = None
    paper_note: str = ""
    verified: bool = True
    licence_verified: bool = False

    def task(self, name: str | None = None) -> Task:
        """The task of this name, or the first.

        Raises:
            ValueError: there is no such task.
        """
        if name is None:
            return self.tasks[0]
        for task in self.tasks:
            if task.name == name:
                return task
        names = [task.name for task in self.tasks]
        raise ValueError(f"{self.name} has no task {name!r}. {_meant(name, names)}")

    def records(
        self, root: Path, task: str | None = None, annotations: Sequence[str] = ()
    ) -> Iterator[Record | Skipped]:
        """Every record that the annotation files under `root` describe, in their order.

        `annotations` stand in for the task's files.

        Raises:
            ValueError: there is no such task, or it reads another number of annotation files.
            DataSetError: a file or a field is missing, or a file is of another form.
        """
        chosen = self.task(task)
        wanted = tuple(annotations) or chosen.files
        if len(wanted) != len(chosen.files) and not chosen.any_number:
            raise ValueError(
                f"{self.name}, task {chosen.name}, reads {len(chosen.files)} annotation file(s): "
                f"{', '.join(chosen.files)}; {len(wanted)} given"
            )
        files = [root / file for file in wanted]
        lookups = [root / file for file in chosen.lookups]
        absent = [file for file in (*files, *lookups) if not file.exists()]
        if absent:
            others = f" (nor {', '.join(map(str, absent[1:]))})" if absent[1:] else ""
            raise DataSetError(
                absent[0],
                f"no such file{others}",
                f"Get it from {self.source}, or name another with --annotation",
            )
        return chosen.read(files, lookups)


def _meant(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(names)}"
