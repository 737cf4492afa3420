"""The whole way of a run: questions, answers, verdicts, figures, files in the output folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.evaluation.answering import Answerer
from videollama2.evaluation.errors import ServerError
from videollama2.evaluation.judge import Judge, VerdictFile, Verdicts, known_verdicts
from videollama2.evaluation.page import as_page
from videollama2.evaluation.replies import Reply, read_replies
from videollama2.evaluation.report import Entry, as_data, as_markdown
from videollama2.evaluation.run import Choice, answer, claim, read_questions, settings_of
from videollama2.evaluation.samples import Sample, score_all
from videollama2.evaluation.sharding import Place
from videollama2.evaluation.summary import summarise
from videollama2.evaluation.task import Question, Task
from videollama2.storage.lines import json_line, write_whole

# (what is being done, done, of how many)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Session:
    """Benchmarks, one model, one output folder.

    `out/BENCHMARK/` holds run.json, the replies as they came, verdicts.jsonl, samples.jsonl and the
    submission; `out/` the reports over all of them.
    """

    data: Path
    out: Path
    choice: Choice
    place: Place
    progress: Progress

    def run(
        self, task: Task, questions: Sequence[Question], answerer: Answerer, judge: Judge | None
    ) -> Entry | None:
        """One benchmark, answered where it is not yet, judged where there is a judge.

        The first of several processes scores all of it; the others get None.

        Raises:
            EvaluationError: the folder is another run's; a server is down.
        """
        folder = self.out / task.name
        settings = settings_of(task, answerer, self.choice)
        if self.place.first:
            claim(folder, settings)
        self.place.wait()
        answer(
            questions,
            answerer,
            self.choice.decoding(task),
            folder,
            batch_size=self.choice.batch_size,
            place=self.place,
            progress=lambda done, total: self.progress(f"{task.name}: answered", done, total),
        )
        return self._finish(task, questions, settings, judge) if self.place.first else None

    def _finish(
        self,
        task: Task,
        questions: Sequence[Question],
        settings: Mapping[str, Any],
        judge: Judge | None,
    ) -> Entry:
        folder = self.out / task.name
        replies = read_replies(folder)
        verdicts, judged = self._verdicts(task, questions, replies, judge)
        samples = score_all(task, questions, replies, verdicts)
        lines = (json_line(sample.as_dict(task)) for sample in samples)
        write_whole(folder / "samples.jsonl", "".join(lines))
        submitted = self._submit(task, samples)
        summary = summarise(task, questions, samples, seed=self.choice.seed)
        return Entry(task, summary, samples, settings, judged, submitted)

    def _verdicts(
        self,
        task: Task,
        questions: Sequence[Question],
        replies: Mapping[str, Reply],
        judge: Judge | None,
    ) -> tuple[Verdicts, dict[str, Any]]:
        """What the judge says, else what it has said before; and how it was asked."""
        if not task.judgements:
            return {}, {}
        file = VerdictFile(self.out / task.name / "verdicts.jsonl")
        if judge is None:
            name = file.last_judge
            known = known_verdicts(task, questions, replies, file, name)
            return known, {"model": name, "structured": True} if known else {}
        asked: dict[str, Any] = {"model": judge.model}
        try:
            verdicts = judge.judge(
                task,
                questions,
                replies,
                file,
                lambda done, total: self.progress(f"{task.name}: judged", done, total),
            )
        except ServerError as error:
            asked["problem"] = str(error)
            verdicts = known_verdicts(task, questions, replies, file, judge.model)
        return verdicts, {**asked, "structured": judge.structured}

    def _submit(self, task: Task, samples: Sequence[Sample]) -> str:
        """Write the file that the benchmark's server takes, which must be whole; what to say."""
        submission = task.submission
        if submission is None:
            return ""
        if self.choice.limit is not None or self.choice.split_of(task) != task.splits[0]:
            return f"{submission.file} is written only of all questions of split {task.splits[0]}."
        rows = ((one.question, one.reply.answers, one.marks) for one in samples)
        write_whole(self.out / task.name / submission.file, submission.write(rows))
        return f"{submission.file}: {submission.how}."

    def questions(self, task: Task) -> list[Question]:
        """The questions of a benchmark.

        Raises:
            AnnotationError: a file is missing or malformed.
        """
        return read_questions(task, self.data, self.choice)

    def report(self, entries: Sequence[Entry]) -> None:
        """Write report.json, report.md and report.html."""
        data = json.dumps(as_data(entries), indent=1, ensure_ascii=False)
        write_whole(self.out / "report.json", data + "\n")
        write_whole(self.out / "report.md", as_markdown(entries))
        write_whole(self.out / "report.html", as_page(entries))
