"""The four benchmarks that lmms-eval lacks, as its documents: what the task files name.

Questions, prompts and scores are those of `videollama2 eval`. The benchmark's folder lies under
`VIDEOLLAMA2_EVAL_DATA`; judged ones ask `VIDEOLLAMA2_JUDGE_MODEL` at `VIDEOLLAMA2_JUDGE_URL`.
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videollama2.evaluation.client import ChatClient
from videollama2.evaluation.errors import EvaluationError
from videollama2.evaluation.judge import Judge, VerdictFile
from videollama2.evaluation.registry import find
from videollama2.evaluation.replies import Reply
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.task import MediaFile, Question

DATA, JUDGE_URL, JUDGE_MODEL, VERDICTS = (
    "VIDEOLLAMA2_EVAL_DATA",
    "VIDEOLLAMA2_JUDGE_URL",
    "VIDEOLLAMA2_JUDGE_MODEL",
    "VIDEOLLAMA2_VERDICTS",
)
_LOG = logging.getLogger(__name__)


def questions(seed: Any) -> Any:
    """`process_docs`: a benchmark's questions in place of the one row that names it.

    Questions without their media are left out, as the released scripts do, and their number is
    logged.

    Raises:
        EvaluationError: a variable is not set, a file is missing or malformed, no medium is there.
    """
    from datasets import Dataset

    task = find(seed[0]["benchmark"])
    data = Path(_variable(DATA, "the folder that holds the benchmarks' folders"))
    if task.judgements:
        _judge()  # said before hours of answers, not after
    asked = read_questions(task, data, Choice())
    there = [one for one in asked if all(medium.path is not None for medium in one.media)]
    if not there:
        raise EvaluationError(
            data / task.folder,
            "none of its media is there",
            f"Run videollama2 eval {task.name} --prepare",
        )
    if len(there) < len(asked):
        _LOG.warning(
            "%s: %d of %d lack their media", task.title, len(asked) - len(there), len(asked)
        )
    return Dataset.from_list([_document(task.name, one) for one in there])


def _document(benchmark: str, question: Question) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "id": question.id,
        "prompt": question.prompts[0],
        "references": list(question.references),
        "options": list(question.options),
        "media": [_medium(file) for file in question.media],
    }


def _medium(file: MediaFile) -> dict[str, Any]:
    return {"type": file.kind, "url": str(file.path), "sound": file.sound}


def visual(document: Mapping[str, Any]) -> list[str]:
    """`doc_to_visual`: the media's paths."""
    return [medium["url"] for medium in document["media"]]


def text(document: Mapping[str, Any]) -> str:
    """`doc_to_text`: the prompt, word for word as released."""
    return document["prompt"]


def messages(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`doc_to_messages`: the media by their kinds, then the prompt."""
    block = {"type": "text", "text": document["prompt"]}
    return [{"role": "user", "content": [*map(dict, document["media"]), block]}]


def target(document: Mapping[str, Any]) -> str:
    """`doc_to_target`: the right answer."""
    return document["references"][0]


def scored(document: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """`process_results` without a judge: right by the released scoring, and by the strict one."""
    marks = find(document["benchmark"]).score(_question(document), [results[0]])
    return {
        "accuracy": marks.released.scores["accuracy"],
        "strict_accuracy": marks.strict.scores["accuracy"],
    }


def to_be_judged(document: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """`process_results` with a judge: what it will be asked, once all is answered."""
    case = {**document, "answer": results[0]}
    return {"accuracy": case, "score": case}


def judged_accuracy(cases: Sequence[Mapping[str, Any]]) -> float:
    """`aggregation`: the share of answers that the judge takes for right."""
    return _mean(cases, "accuracy")


def judged_score(cases: Sequence[Mapping[str, Any]]) -> float:
    """`aggregation`: the judge's mean score, 0 to 5."""
    return _mean(cases, "score")


def _mean(cases: Sequence[Mapping[str, Any]], metric: str) -> float:
    """Raises ServerError where the judge is down: what it has said so far is kept."""
    task = find(cases[0]["benchmark"])
    (judgement,) = task.judgements
    asked = [_question(case) for case in cases]
    replies = {
        case["id"]: Reply(case["id"], (case["prompt"],), (case["answer"],)) for case in cases
    }
    verdicts = _judge().judge(task, asked, replies, VerdictFile(_verdicts()))
    values = [
        scores[metric]
        for found in verdicts.values()
        if metric in (scores := found[judgement.name].scores(judgement))
    ]
    if len(values) < len(cases):
        _LOG.warning("%s: the judge failed on %d", task.title, len(cases) - len(values))
    return sum(values) / len(values) if values else float("nan")


def _question(document: Mapping[str, Any]) -> Question:
    return Question(
        document["id"],
        (document["prompt"],),
        (),
        tuple(document["references"]),
        tuple(document["options"]),
        details={"question": document["prompt"]},
    )


def _judge() -> Judge:
    url = _variable(JUDGE_URL, "the judge's server, such as http://localhost:8000/v1")
    return Judge(ChatClient(url, _variable(JUDGE_MODEL, "the judge's model")), say=_LOG.warning)


def _verdicts() -> Path:
    """Where verdicts are kept, so that none is asked for twice."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(os.environ.get(VERDICTS) or caches / "videollama2" / "verdicts.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _variable(name: str, what: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise EvaluationError(name, "is not set", f"Set it to {what}")
    return value
