"""Whoever answers and judges in tests: without a model, without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from videollama2.evaluation.answering import Decoding, missing, prompts_of
from videollama2.evaluation.replies import Reply, read_replies
from videollama2.evaluation.run import Choice, answer, read_questions
from videollama2.evaluation.samples import Sample, judgements_of, score_all
from videollama2.evaluation.summary import Summary, summarise
from videollama2.evaluation.task import Question, Task
from videollama2.evaluation.verdicts import Verdict, read_verdict

Answers = Callable[[Question], Sequence[str]]


class StubAnswerer:
    """Gives the answers that it was given; `asked` holds every question it saw, in order."""

    def __init__(self, answers: Answers, name: str = "stub", num_frames: int = 8) -> None:
        self.name = name
        self.num_frames = num_frames
        self.answers = answers
        self.asked: list[Question] = []
        self.decoding: Decoding | None = None

    def answer(self, questions: Sequence[Question], decoding: Decoding) -> list[Reply]:
        self.decoding = decoding
        replies: list[Reply] = []
        for question in questions:
            self.asked.append(question)
            absent = missing(question)
            if absent is None:
                prompts, notes = prompts_of(question, self.num_frames)
                texts = tuple(self.answers(question))
                absent = Reply(question.id, prompts, texts, notes=tuple(notes))
            replies.append(absent)
        return replies


def letter(question: Question) -> tuple[str, ...]:
    """The perfect answer of a multiple choice."""
    return (question.references[0],)


def reference(question: Question) -> tuple[str, ...]:
    """The perfect answer of an open question: the first reference, to every prompt."""
    return (question.references[0],) * len(question.prompts)


def judge_by_equality(task: Task, questions: Sequence[Question], replies: dict[str, Reply]):
    """Verdicts of a judge to whom an answer is right (yes, 5) or wrong (no, 0)."""
    verdicts: dict[str, dict[str, Verdict]] = {}
    for question in questions:
        reply = replies[question.id]
        if reply.failure is not None:
            continue
        right = all(text in question.references for text in reply.answers)
        for judgement in judgements_of(task, question):
            values = {judgement.yes_key: "yes" if right else "no", judgement.score_key: 5 * right}
            verdict = read_verdict(json.dumps(values), judgement)
            verdicts.setdefault(question.id, {})[judgement.name] = verdict
    return verdicts


def evaluate(
    task: Task, data: Path, answers: Answers, out: Path, choice: Choice | None = None
) -> tuple[Summary, list[Sample]]:
    """The whole way from annotation files to figures, answered and judged by stubs."""
    choice = choice or Choice()
    questions = read_questions(task, data, choice)
    answer(questions, StubAnswerer(answers), choice.decoding(task), out)
    replies = read_replies(out)
    samples = score_all(task, questions, replies, judge_by_equality(task, questions, replies))
    return summarise(task, questions, samples), samples
