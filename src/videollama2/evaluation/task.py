"""What a benchmark says of itself, and what it asks: the records that all of this room speak."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Scale = Literal["percent", "score"]
Scoring = Literal["released", "strict"]
SCORINGS: tuple[Scoring, ...] = ("released", "strict")


@dataclass(frozen=True)
class NeededFile:
    """A file or folder that must lie under the benchmark's folder.

    `path` is relative; one that ends in "/" is a folder of media. `what` says what it is and where
    it is to be had. `optional` ones may be absent; so may one whose `instead` lies there. `splits`
    need it; empty: all.
    """

    path: str
    what: str
    optional: bool = False
    instead: str = ""
    splits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metric:
    """A figure of a benchmark: the mean of what each question scored.

    `scale` "percent": a question scores 0 to 1, the mean is shown times 100; "score": 0 to 5, shown
    as it is. `by`: a kind of group, such as "task": each of them counts the same over all, however
    many questions it has.
    """

    name: str
    description: str
    scale: Scale = "percent"
    by: str = ""


@dataclass(frozen=True)
class MediaFile:
    """A medium of a question.

    `wanted` is how the annotations name it, `path` where it lies (a file, or a folder of frames),
    None where it is missing. `start` and `end` are seconds. `sound`: False leaves a clip's
    soundtrack out, as the released video benchmarks do; None hears it where there is one.
    """

    kind: Literal["video", "audio", "image"]
    wanted: str
    path: Path | None
    start: float | None = None
    end: float | None = None
    sound: bool | None = False


@dataclass(frozen=True)
class Question:
    """One item of a benchmark.

    Attributes:
        id: unique in the benchmark, the same in every run.
        prompts: what the model is asked, word for word; each is asked by itself of the same media.
            Nearly always one.
        media: what it is asked about.
        references: the right answers; for multiple choice the right letter. Empty: not published.
        options: of a multiple choice, without letters.
        cluster: the video or sound it belongs to: intervals resample these. Empty: its own.
        groups: its kinds, such as {"task": "Action Sequence"}; each kind gets its own line.
        subtitles: the .srt file put before the prompt by the Video-MME rule; may be absent.
        details: whatever else the task's own scoring, judge or submission needs.
    """

    id: str
    prompts: tuple[str, ...]
    media: tuple[MediaFile, ...]
    references: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    cluster: str = ""
    groups: Mapping[str, str] = field(default_factory=dict[str, str])
    subtitles: Path | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def unit(self) -> str:
        """What the bootstrap draws: the video, or the question where it has none."""
        return self.cluster or self.id


@dataclass(frozen=True)
class Mark:
    """What one scoring makes of the answers.

    `parse` is what was understood, None where nothing was. `scores`: metric -> value of this
    question; a metric that does not hold for it, or waits for a judge, is left out. `defaulted`:
    the parse is not in the answer but the released fallback.
    """

    parse: str | None
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    defaulted: bool = False


@dataclass(frozen=True)
class Marks:
    """Both scorings of one question's answers."""

    released: Mark
    strict: Mark

    def of(self, scoring: Scoring) -> Mark:
        """The mark of a scoring."""
        return self.released if scoring == "released" else self.strict


Score = Callable[[Question, Sequence[str]], Marks]


def free_text(question: Question, answers: Sequence[str]) -> Marks:
    """Answers that only a judge can score; an empty one is unparsable."""
    text = "\n".join(answers)
    return Marks(Mark(text), Mark(text if all(answer.strip() for answer in answers) else None))


@dataclass(frozen=True)
class JudgePrompt:
    """A system and a user message."""

    system: str
    user: str


@dataclass(frozen=True)
class Judgement:
    """One thing that a judge is asked about a question's answers.

    `prompt` writes it. The reply holds `score_key`, an integer 0 to 5 that becomes the metric
    `score_metric`, and, where `yes_metric` is named, `yes_key`, "yes" or "no" (1 or 0).
    `group`: only questions whose `groups` hold this pair are judged by it.
    """

    name: str
    prompt: Callable[[Question, Sequence[str]], JudgePrompt]
    score_metric: str
    yes_metric: str | None = None
    yes_key: str = "pred"
    score_key: str = "score"
    group: tuple[str, str] | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that it gives."""
        return (*filter(None, [self.yes_metric]), self.score_metric)

    def holds_for(self, question: Question) -> bool:
        """Whether this question is judged by it."""
        return self.group is None or question.groups.get(self.group[0]) == self.group[1]


@dataclass(frozen=True)
class Submission:
    """A file that the benchmark's own server takes.

    `write` gets every question with its answers and its released and strict mark, and gives the
    file's text. `how` says where it goes.
    """

    file: str
    how: str
    write: Callable[[Iterable[tuple[Question, Sequence[str], Marks]]], str]


@dataclass(frozen=True)
class Task:
    """A benchmark.

    Attributes:
        name: what the command line calls it.
        title: what its authors call it.
        folder: where its files lie under --data (the released layout).
        size: how many questions the published test set has.
        modality: "video", "audio" or "audio-visual".
        metrics: its figures, the main one first.
        source: where its files are published.
        licence: the terms its publisher states.
        files: what must lie where.
        read: from the benchmark's folder and the split to its questions, in their order.
        score: what is known of an answer without a judge.
        judgements: what a judge is asked; empty for benchmarks without.
        splits: the first is what is done unless another is asked for.
        max_new_tokens: the longest answer; 2048 as released.
        temperature: 0 for questions (greedy); captions at the released 0.2.
        submission: for benchmarks whose answers are not public.
        note: what the report should say besides.
    """

    name: str
    title: str
    folder: str
    size: int
    modality: Literal["video", "audio", "audio-visual"]
    metrics: tuple[Metric, ...]
    source: str
    licence: str
    files: tuple[NeededFile, ...]
    read: Callable[[Path, str], Iterable[Question]]
    score: Score = free_text
    judgements: tuple[Judgement, ...] = ()
    splits: tuple[str, ...] = ("test",)
    max_new_tokens: int = 2048
    temperature: float = 0.0
    submission: Submission | None = None
    note: str = ""

    def metric(self, name: str) -> Metric:
        """The metric of this name."""
        return next(metric for metric in self.metrics if metric.name == name)

    def root(self, data: Path) -> Path:
        """The benchmark's folder under `data`; `data` itself where that is it."""
        return data / self.folder if (data / self.folder).is_dir() else data
