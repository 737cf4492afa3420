"""Questions and replies together, scored: what the report counts and the sample file holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from videollama2.evaluation.replies import Reply
from videollama2.evaluation.task import Judgement, Mark, Marks, Question, Task
from videollama2.evaluation.verdicts import Verdict


@dataclass(frozen=True)
class Sample:
    """A question, its reply, and both scorings of it.

    `verdicts`: what the judge said, by judgement. `pending`: metrics that wait for a judge.
    """

    question: Question
    reply: Reply
    marks: Marks
    verdicts: Mapping[str, Verdict] = field(default_factory=dict[str, Verdict])
    pending: tuple[str, ...] = ()

    def as_dict(self, task: Task) -> dict[str, Any]:
        """As the sample file holds it."""
        question, reply = self.question, self.reply
        return {
            "task": task.name,
            "id": question.id,
            "groups": dict(question.groups),
            "video": question.unit,
            "prompts": list(reply.prompts),
            "answers": list(reply.answers),
            "options": list(question.options),
            "references": list(question.references),
            "released": asdict(self.marks.released),
            "strict": asdict(self.marks.strict),
            "failure": None if reply.failure is None else asdict(reply.failure),
            "verdicts": {name: asdict(verdict) for name, verdict in self.verdicts.items()},
            "pending": list(self.pending),
            "media": list(reply.media),
            "notes": list(reply.notes),
            "timings_ms": dict(reply.timings_ms),
            "prompt_tokens": reply.prompt_tokens,
            "generated_tokens": reply.generated_tokens,
        }


def judgements_of(task: Task, question: Question) -> list[Judgement]:
    """What a judge is asked about this question."""
    return [one for one in task.judgements if one.holds_for(question)]


def score(task: Task, question: Question, reply: Reply, verdicts: Mapping[str, Verdict]) -> Sample:
    """One question's reply in both scorings.

    Without an answer (its medium is missing or broken) the released scoring leaves the question
    out, as the released Video-MME script does (the audio-visual ones count it, others stop), and
    the strict one counts it as wrong. An answer that
    the strict scoring cannot parse is wrong there; one that a judge could not judge is left out.
    """
    judged = judgements_of(task, question)
    metrics = tuple(name for judgement in judged for name in judgement.metrics)
    if reply.failure is not None:
        nothing = task.score(question, [""] * len(question.prompts)).strict.scores
        zeros = dict.fromkeys((*nothing, *metrics), 0.0)
        return Sample(question, reply, Marks(Mark(None), Mark(None, zeros)))
    marks = task.score(question, reply.answers)
    given = _mean_scores(judged, verdicts)
    unparsed = dict.fromkeys(metrics, 0.0) if marks.strict.parse is None else given
    marks = Marks(_with(marks.released, given), _with(marks.strict, unparsed))
    pending = tuple(name for one in judged if one.name not in verdicts for name in one.metrics)
    return Sample(question, reply, marks, dict(verdicts), pending)


def _mean_scores(judged: Sequence[Judgement], verdicts: Mapping[str, Verdict]) -> dict[str, float]:
    """Metric -> what the judge gave; the mean where several judgements give the same metric."""
    given: dict[str, list[float]] = {}
    for judgement in judged:
        if judgement.name in verdicts:
            for metric, value in verdicts[judgement.name].scores(judgement).items():
                given.setdefault(metric, []).append(value)
    return {metric: sum(values) / len(values) for metric, values in given.items()}


def _with(mark: Mark, scores: Mapping[str, float]) -> Mark:
    return Mark(mark.parse, {**mark.scores, **scores}, mark.defaulted)


def score_all(
    task: Task,
    questions: Sequence[Question],
    replies: Mapping[str, Reply],
    verdicts: Mapping[str, Mapping[str, Verdict]],
) -> list[Sample]:
    """Every question that has a reply, in order; `verdicts` by question and judgement."""
    return [
        score(task, question, replies[question.id], verdicts.get(question.id, {}))
        for question in questions
        if question.id in replies
    ]
