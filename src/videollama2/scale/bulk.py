"""The whole way of a bulk run: clips found, those without a row answered, rows on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from videollama2.scale.clips import Clip, Names, Share
from videollama2.scale.errors import BulkError
from videollama2.scale.inputs import find_clips
from videollama2.scale.output import Form, Output
from videollama2.scale.work import Work

Rows = Iterator[Sequence[dict[str, Any]]]


@dataclass(frozen=True)
class Tally:
    """How far a run is: `done` of `total` clips have a row, `failed` of them without answers.

    `before` rows were there when it began. `seconds` of video and sound, and `tokens` written,
    are those of this run.
    """

    total: int
    before: int
    done: int
    failed: int
    seconds: float
    tokens: int


@dataclass(frozen=True)
class Job:
    """Clips to caption: the input, where rows go, and which share of the clips is this run's."""

    given: str
    out: Path
    form: Form
    share: Share = field(default_factory=Share)
    limit: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What is there in the end. `ignored` files were no media, `duplicates` named twice."""

    tally: Tally
    ignored: int
    duplicates: int


def run(
    job: Job,
    work: Work,
    caption: Callable[[Iterator[Clip]], Rows],
    *,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> Outcome:
    """Caption what has no row yet. `caption` gives the rows of clips by `work`, wherever it likes.

    Raises:
        BulkError: the input or the output is not to be used, or nothing can be done any more.
        CheckpointError: the model cannot be loaded.
    """
    found, names = find_clips(job.given), Names()
    mine = (clip for clip in names.distinct(found.clips) if job.share.has(clip))
    clips = list(islice(mine, job.limit))
    if not clips:
        ignored = f" ({found.ignored:,} files are no media)" if found.ignored else ""
        share = "" if job.share.of == 1 else f" in share {job.share.number}/{job.share.of}"
        raise BulkError(job.given, f"there is no clip{share}{ignored}", "Name media, or a list")
    _check_alone(job.given, clips)
    with Output(job.out, job.form, settings_of(work, job.share)) as output:
        waiting = [clip for clip in clips if clip.id not in output.done]
        before = len(clips) - len(waiting)
        seconds, tokens, done = 0.0, 0, before
        progress(Tally(len(clips), before, done, output.failed, seconds, tokens))
        if waiting:
            for rows in caption(iter(waiting)):
                done += output.add(rows)
                seconds += sum(_seconds(row) for row in rows)
                tokens += sum(row["generated_tokens"] for row in rows)
                progress(Tally(len(clips), before, done, output.failed, seconds, tokens))
        output.finish()
        tally = Tally(len(clips), before, done, output.failed, seconds, tokens)
    return Outcome(tally, found.ignored, names.duplicates)


def settings_of(work: Work, share: Share) -> dict[str, Any]:
    """What rows depend on, as the output keeps it."""
    asking = asdict(work.asking)
    asking.pop("batch_tokens")
    return {
        "model": work.model.name,
        "engine": work.engine,
        **asking,
        "prompts": list(work.asking.prompts),
        "num_frames": work.reading.num_frames,
        "sound": work.reading.sound,
        "share": f"{share.number}/{share.of}",
    }


def read_questions(file: Path) -> tuple[str, ...]:
    """The questions of a text file, one a line.

    Raises:
        BulkError: it is not there, no UTF-8, or holds none.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise BulkError(file, "it is no UTF-8 text", "Save it as UTF-8") from None
    except OSError as error:
        raise BulkError(file, error.strerror or "it cannot be read", "Name a file") from None
    questions = tuple(line.strip() for line in text.split("\n") if line.strip())
    if not questions:
        raise BulkError(file, "there is no question in it", "Write one a line")
    return questions


def _check_alone(given: str, clips: Sequence[Clip]) -> None:
    """One table or shard that cannot be read is no clip with a problem, but a wrong input."""
    if len(clips) == 1 and clips[0].problem is not None and clips[0].path == given:
        raise BulkError(given, clips[0].problem, "Name another file")


def _seconds(row: dict[str, Any]) -> float:
    start, end, duration = row["start"] or 0.0, row["end"], row["duration_s"]
    if duration is None:
        return 0.0
    return max(min(duration, duration if end is None else end) - start, 0.0)
