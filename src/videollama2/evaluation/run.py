"""A benchmark answered: questions read, those not yet answered asked in batches, replies kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from videollama2.evaluation.answering import Answerer, Decoding, missing
from videollama2.evaluation.errors import AnnotationError, EvaluationError
from videollama2.evaluation.replies import Reply, read_replies, replies_file
from videollama2.evaluation.sharding import Place
from videollama2.evaluation.task import Question, Task
from videollama2.storage.lines import GrowingFile, write_whole

SETTINGS = "run.json"


@dataclass(frozen=True)
class Choice:
    """What of a benchmark is asked, and how.

    `split` None is the benchmark's first. `limit` takes so many questions, evenly spread.
    `temperature` and `max_new_tokens` None are the benchmark's own.
    """

    split: str | None = None
    limit: int | None = None
    batch_size: int = 8
    temperature: float | None = None
    max_new_tokens: int | None = None
    seed: int = 0

    def split_of(self, task: Task) -> str:
        """Which of a benchmark's splits is asked.

        Raises:
            ValueError: it has no such split.
        """
        split = self.split or task.splits[0]
        if split not in task.splits:
            raise ValueError(f"{task.name} has no split {split!r}: it has {', '.join(task.splits)}")
        return split

    def decoding(self, task: Task) -> Decoding:
        """How this benchmark's answers are decoded."""
        temperature = task.temperature if self.temperature is None else self.temperature
        return Decoding(self.max_new_tokens or task.max_new_tokens, temperature, seed=self.seed)


def read_questions(task: Task, data: Path, choice: Choice) -> list[Question]:
    """The questions of a benchmark that are asked, in its order.

    Raises:
        AnnotationError: a file is missing or malformed, or two questions have the same id.
        ValueError: there is no such split.
    """
    split = choice.split_of(task)
    root = task.root(data)
    questions = list(task.read(root, split))
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise AnnotationError(root, f"two questions have the id {question.id!r}")
        seen.add(question.id)
    if not questions:
        raise AnnotationError(root, f"there are no questions in split {split!r}")
    if choice.limit is None or choice.limit >= len(questions):
        return questions
    return [questions[n * len(questions) // choice.limit] for n in range(choice.limit)]


def settings_of(task: Task, answerer: Answerer, choice: Choice) -> dict[str, Any]:
    """What a run's answers depend on, as its folder keeps it."""
    return {
        "task": task.name,
        "split": choice.split_of(task),
        "model": answerer.name,
        "num_frames": answerer.num_frames,
        **asdict(choice.decoding(task)),
    }


def claim(folder: Path, settings: dict[str, Any]) -> None:
    """Make the folder this run's, or find that it is.

    Raises:
        EvaluationError: it holds the answers of another run.
    """
    file = folder / SETTINGS
    if file.is_file():
        found = read_settings(file)
        other = [name for name in settings if found.get(name) != settings[name]]
        if other:
            what = ", ".join(f"{name} {found.get(name)!r}" for name in other)
            raise EvaluationError(
                folder, f"it holds the answers of another run ({what})", "Choose another --out"
            )
        return
    write_whole(file, json.dumps(settings, indent=1, ensure_ascii=False) + "\n")


def read_settings(file: Path) -> dict[str, Any]:
    """What a run's answers depend on, from its folder.

    Raises:
        EvaluationError: the file holds no JSON object.
    """
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise EvaluationError(file, "it holds no JSON object", "Choose another --out")
    return cast(dict[str, Any], found)


def answer(
    questions: Sequence[Question],
    answerer: Answerer,
    decoding: Decoding,
    folder: Path,
    *,
    batch_size: int = 8,
    place: Place | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Ask what has no reply yet, `batch_size` at a time, each batch's replies on disk at once.

    With several processes each asks its share. `progress` gets (done, total) of this process.

    Raises:
        EvaluationError: the folder holds answers to other questions of these ids.
        ServerError: an endpoint is down; what is answered is kept.
        ValueError: `batch_size` is below one.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be at least 1")
    place = place or Place()
    done = read_replies(folder)
    _must_be_the_same(questions, done, folder)
    mine = place.share(questions)
    waiting = [question for question in mine if not _settled(done.get(question.id), question)]
    place.wait()  # until all have read the files, none may write
    file = GrowingFile(replies_file(folder, place.rank))
    progress(len(mine) - len(waiting), len(mine))
    for first in range(0, len(waiting), batch_size):
        batch = waiting[first : first + batch_size]
        replies: list[Reply] = answerer.answer(batch, decoding)
        file.append([reply.as_dict() for reply in replies])
        progress(len(mine) - len(waiting) + first + len(batch), len(mine))
    place.wait()


def _settled(reply: Reply | None, question: Question) -> bool:
    """Whether it need not be asked again: what was missing or broken may be whole by now."""
    if reply is None or reply.failure is None:
        return reply is not None
    if reply.failure.kind == "missing":
        return missing(question) is not None
    return reply.failure.kind == "refused"


def _must_be_the_same(
    questions: Sequence[Question], done: Mapping[str, Reply], folder: Path
) -> None:
    for question in questions:
        reply = done.get(question.id)
        asked = question.prompts if reply is None else reply.prompts
        pairs = zip(asked, question.prompts, strict=False)
        if len(asked) != len(question.prompts) or not all(one.endswith(two) for one, two in pairs):
            raise EvaluationError(
                folder,
                f"it holds the answer to another question {question.id!r}: the annotations changed",
                "Choose another --out",
            )
