"""A language model as a judge: asked once about each thing, its verdicts kept by their content."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from videollama2.evaluation.client import ChatClient, Completion, RequestRefusedError
from videollama2.evaluation.replies import Reply, read_lines
from videollama2.evaluation.samples import judgements_of
from videollama2.evaluation.task import Judgement, JudgePrompt, Question, Task
from videollama2.evaluation.verdicts import Verdict, read_verdict, schema_of
from videollama2.storage.lines import GrowingFile

MAX_TOKENS = 800
"""As the released scripts allow."""
_TRIES = 3  # of a reply that cannot be read
Verdicts = dict[str, dict[str, Verdict]]


@dataclass(frozen=True)
class _Case:
    question: str
    judgement: Judgement
    prompt: JudgePrompt
    key: str


class VerdictFile:
    """The verdicts of a run so far, by what was asked of whom: model, prompt and form of reply."""

    def __init__(self, path: Path) -> None:
        self._lines = {line["key"]: line for line in read_lines(path)}
        self._file = GrowingFile(path)
        self._lock = threading.Lock()

    @property
    def last_judge(self) -> str | None:
        """The model of the latest verdict."""
        return next((line["judge"] for line in reversed(self._lines.values())), None)

    def find(self, key: str, judgement: Judgement) -> Verdict | None:
        """The verdict kept under this key."""
        line = self._lines.get(key)
        if line is None:
            return None
        return _counted(read_verdict(line["text"], judgement), line, cached=True)

    def keep(self, key: str, judge: str, verdict: Verdict) -> None:
        """Keep a verdict, on disk when this returns."""
        line = {
            "key": key,
            "judge": judge,
            "text": verdict.text,
            "prompt_tokens": verdict.prompt_tokens,
            "generated_tokens": verdict.generated_tokens,
        }
        with self._lock:
            self._lines[key] = line
            self._file.append([line])


class Judge:
    """Asks a server for verdicts, several at a time, at temperature 0, in a fixed JSON form.

    Where the server refuses to fix the form it is asked in words alone, and `say` is told so once.
    A reply that cannot be read is asked for again with another seed; after that, or where the
    server refuses the request, the verdict is a failure: counted, not kept, asked again next time.
    """

    def __init__(
        self,
        client: ChatClient,
        *,
        workers: int = 8,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.model = client.model
        self.structured = True
        self._client = client
        self._workers = workers
        self._say = say
        self._lock = threading.Lock()

    def judge(
        self,
        task: Task,
        questions: Sequence[Question],
        replies: Mapping[str, Reply],
        file: VerdictFile,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Verdicts:
        """Every verdict on these replies, from the file where it is known.

        Raises:
            ServerError: the judge is down; what it has said is in the file.
        """
        cases = _cases(task, questions, replies, self.model)
        found, open_cases = _known(cases, file)
        done = len(cases) - len(open_cases)
        progress(done, len(cases))
        pool = ThreadPoolExecutor(self._workers)
        waiting = {pool.submit(self._ask, case, file): case for case in open_cases}
        try:
            for future in as_completed(waiting):
                case = waiting[future]
                found.setdefault(case.question, {})[case.judgement.name] = future.result()
                done += 1
                progress(done, len(cases))
        finally:
            pool.shutdown(cancel_futures=True)
        return found

    def _ask(self, case: _Case, file: VerdictFile) -> Verdict:
        spent = Verdict("")
        for attempt in range(_TRIES):
            try:
                completion = self._complete(case, seed=attempt)
            except RequestRefusedError as error:
                return replace(spent, failure=str(error))
            spent = replace(
                spent,
                text=completion.text,
                prompt_tokens=spent.prompt_tokens + completion.prompt_tokens,
                generated_tokens=spent.generated_tokens + completion.generated_tokens,
            )
            try:
                verdict = read_verdict(completion.text, case.judgement)
            except ValueError as error:
                spent = replace(spent, failure=f"its verdict cannot be read: {error}")
                continue
            verdict = replace(verdict, **_tokens(spent))
            file.keep(case.key, self.model, verdict)
            return verdict
        return spent

    def _complete(self, case: _Case, seed: int) -> Completion:
        messages = [
            {"role": "system", "content": case.prompt.system},
            {"role": "user", "content": case.prompt.user},
        ]
        settings: dict[str, Any] = {"temperature": 0, "max_tokens": MAX_TOKENS, "seed": seed}
        if not self.structured:
            return self._client.complete(messages, **settings)
        form = {"name": "verdict", "strict": True, "schema": schema_of(case.judgement)}
        try:
            return self._client.complete(
                messages,
                response_format={"type": "json_schema", "json_schema": form},
                **settings,
            )
        except RequestRefusedError as refusal:
            # Perhaps it is the form that is refused, perhaps the request: the next says which.
            completion = self._client.complete(messages, **settings)
            self._form_refused(refusal)
            return completion

    def _form_refused(self, refusal: RequestRefusedError) -> None:
        with self._lock:
            if self.structured:
                self.structured = False
                self._say(
                    f"the judge takes no JSON schema ({refusal}): it is asked in words alone, "
                    "and more of its verdicts may be unreadable"
                )


def known_verdicts(
    task: Task,
    questions: Sequence[Question],
    replies: Mapping[str, Reply],
    file: VerdictFile,
    judge: str | None,
) -> Verdicts:
    """What a judge has said of these replies so far, without asking it."""
    if judge is None:
        return {}
    return _known(_cases(task, questions, replies, judge), file)[0]


def _known(cases: Sequence[_Case], file: VerdictFile) -> tuple[Verdicts, list[_Case]]:
    found: Verdicts = {}
    unknown: list[_Case] = []
    for case in cases:
        verdict = file.find(case.key, case.judgement)
        if verdict is None:
            unknown.append(case)
        else:
            found.setdefault(case.question, {})[case.judgement.name] = verdict
    return found, unknown


def _cases(
    task: Task, questions: Sequence[Question], replies: Mapping[str, Reply], judge: str
) -> list[_Case]:
    cases: list[_Case] = []
    for question in questions:
        reply = replies.get(question.id)
        if reply is None or reply.failure is not None:
            continue
        for judgement in judgements_of(task, question):
            prompt = judgement.prompt(question, reply.answers)
            content = [judge, prompt.system, prompt.user, schema_of(judgement)]
            text = json.dumps(content, sort_keys=True)
            key = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
            cases.append(_Case(question.id, judgement, prompt, key))
    return cases


def _tokens(verdict: Verdict) -> dict[str, int]:
    return {
        "prompt_tokens": verdict.prompt_tokens,
        "generated_tokens": verdict.generated_tokens,
    }


def _counted(verdict: Verdict, line: Mapping[str, Any], *, cached: bool) -> Verdict:
    return replace(
        verdict,
        prompt_tokens=line["prompt_tokens"],
        generated_tokens=line["generated_tokens"],
        cached=cached,
    )
