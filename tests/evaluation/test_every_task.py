"""Every benchmark there is, put to the same tests with its miniature."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from miniatures import Miniature, miniatures
from stubs import evaluate, judge_by_equality, letter

from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.registry import all_tasks, find
from videollama2.evaluation.replies import Reply
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.samples import score_all
from videollama2.evaluation.summary import summarise
from videollama2.evaluation.task import Question, Task

NAMES = sorted(all_tasks())


def both(name: str) -> tuple[Task, Miniature]:
    return find(name), miniatures()[name]


def whole(task: Task, miniature: Miniature, tmp_path: Path) -> Path:
    return miniature.lay_out(tmp_path / "data", task.folder)


def test_each_has_a_miniature_and_a_name_for_its_file() -> None:
    assert set(miniatures()) == set(all_tasks())
    for name, task in all_tasks().items():
        assert name == task.name
        assert task.metrics
        assert task.files
        assert all("\n" not in text and "\t" not in text for text in (task.title, task.source))


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    """The oracle below answers with what was read: here it is compared with what was written."""
    task, mini = both(name)
    questions = read_questions(task, whole(task, mini, tmp_path), Choice(mini.split))
    assert tuple(question.references[0] for question in questions) == mini.right


@pytest.mark.parametrize("name", NAMES)
def test_oracle_scores_full_marks(name: str, tmp_path: Path) -> None:
    task, mini = both(name)
    data = whole(task, mini, tmp_path)
    summary, samples = evaluate(task, data, mini.oracle, tmp_path / "out", Choice(mini.split))
    assert len(samples) == mini.questions
    lost = [one.question.id for one in samples if one.reply.failure is not None]
    assert lost == list(mini.missing)
    assert summary.counts.missing == len(mini.missing)
    assert summary.counts.unparsable == 0
    for metric in task.metrics:
        interval = summary.figure(metric.name).interval
        assert interval is not None, metric.name
        best = 100.0 if metric.scale == "percent" else 5.0
        assert interval.value == pytest.approx(best), metric.name
        strict = summary.figure(metric.name, "strict").interval
        assert strict is not None
        assert (strict.value < best) == (strict.count > interval.count)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_said_is_nothing_won(name: str, tmp_path: Path) -> None:
    task, mini = both(name)
    data = whole(task, mini, tmp_path)
    summary, _ = evaluate(
        task, data, lambda q: [""] * len(q.prompts), tmp_path / "out", Choice(mini.split)
    )
    assert summary.counts.unparsable == summary.counts.answered
    for metric in task.metrics:
        strict = summary.figure(metric.name, "strict").interval
        assert strict is not None
        assert strict.value == 0


@pytest.mark.parametrize("name", [name for name in NAMES if miniatures()[name].oracle is letter])
def test_guessing_is_at_chance(name: str, tmp_path: Path) -> None:
    """Letters drawn at random, from many copies of the miniature's questions."""
    task, mini = both(name)
    questions = read_questions(task, whole(task, mini, tmp_path), Choice(mini.split))
    random = np.random.default_rng(0)
    hits: list[float] = []
    chances: list[float] = []
    for _ in range(400):
        for question in questions:
            guess = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[random.integers(len(question.options))]
            marks = task.score(question, [guess])
            assert marks.released.parse == marks.strict.parse == guess
            hits.append(marks.strict.scores[task.metrics[0].name])
            chances.append(1 / len(question.options))
    error = np.sqrt(np.mean(chances) * (1 - np.mean(chances)) / len(hits))
    assert abs(np.mean(hits) - np.mean(chances)) < 4 * error


@pytest.mark.parametrize(
    "name", [name for name in NAMES if miniatures()[name].oracle is not letter]
)
def test_saying_anything_is_at_chance(name: str, tmp_path: Path) -> None:
    """Right answers of questions drawn at random, to many copies of the miniature's questions."""
    task, mini = both(name)
    read = read_questions(task, whole(task, mini, tmp_path), Choice(mini.split))
    random = np.random.default_rng(0)
    questions: list[Question] = []
    replies: dict[str, Reply] = {}
    for copy in range(200):
        for question in read:
            one = replace(question, id=f"{question.id} {copy}", cluster="")
            said = read[random.integers(len(read))].references[0]
            replies[one.id] = Reply(one.id, one.prompts, (said,) * len(one.prompts))
            questions.append(one)
    samples = score_all(task, questions, replies, judge_by_equality(task, questions, replies))
    metric = task.metrics[0]
    found = summarise(task, questions, samples).figure(metric.name, "strict").interval
    assert found is not None
    held = [
        question
        for question in read
        if any(metric.name in one.metrics and one.holds_for(question) for one in task.judgements)
        or metric.name in task.score(question, question.references[:1]).strict.scores
    ]
    right = [{text.upper() for text in question.references} for question in held]
    hits = [said.references[0].upper() in texts for texts in right for said in read]
    chance = (100 if metric.scale == "percent" else 5) * np.mean(hits)
    assert 0 < chance < 0.8 * (100 if metric.scale == "percent" else 5)
    room = (found.high - found.low) / 2  # four standard errors instead of two
    assert found.low - room < chance < found.high + room


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_reading_is_repeatable(name: str, tmp_path: Path) -> None:
    task, mini = both(name)
    data = whole(task, mini, tmp_path)
    first = read_questions(task, data, Choice(mini.split))
    assert first == read_questions(task, data, Choice(mini.split))
    assert len({question.id for question in first}) == len(first) == mini.questions
    limited = read_questions(task, data, Choice(mini.split, limit=2))
    assert len(limited) == min(2, mini.questions)
    assert all(question.prompts and all(question.prompts) for question in first)


@pytest.mark.parametrize(
    ("name", "file", "field"),
    [(name, *pair) for name in NAMES for pair in miniatures()[name].required],
)
def test_a_malformed_item_is_named(name: str, file: str, field: str, tmp_path: Path) -> None:
    """Without the field, the error names file, item and field."""
    task, mini = both(name)
    content = mini.files[file]
    assert isinstance(content, str)
    broken = replace(mini, files={**mini.files, file: without(content, field)})
    with pytest.raises(AnnotationError) as caught:
        read_questions(task, whole(task, broken, tmp_path), Choice(mini.split))
    assert Path(caught.value.file) == tmp_path / "data" / task.folder / file
    assert caught.value.field == field
    assert caught.value.where


def without(text: str, field: str) -> str:
    """The JSON or JSON Lines text with the field taken out of the last item that has it."""
    lines = text.splitlines() if text.count("\n") and not text.startswith(("[", "{\n")) else [text]
    for number in reversed(range(len(lines))):
        value = json.loads(lines[number] or "null")
        if _drop(value, field):
            lines[number] = json.dumps(value)
            return "\n".join(lines) + "\n"
    raise AssertionError(f"nothing has {field}")


def _drop(value: object, field: str) -> bool:
    if isinstance(value, dict):
        if field in value:
            del value[field]
            return True
        return any(_drop(inner, field) for inner in reversed(list(value.values())))
    return isinstance(value, list) and any(_drop(inner, field) for inner in reversed(value))


TWICE = [
    ("egoschema", "questions.json", "q_uid"),
    ("perception_test", "mc_question_test.json", "id"),
    ("msvd_qa", "test_q.json", "question_id"),
    ("activitynet_qa", "test_q.json", "question_id"),
    ("mlvu", "test-ground-truth/test_mcq_gt.json", "question_id"),
]


@pytest.mark.parametrize(("name", "file", "field"), TWICE)
def test_an_id_that_comes_twice_is_named(name: str, file: str, field: str, tmp_path: Path) -> None:
    task, mini = both(name)
    data = whole(task, mini, tmp_path)
    path = data / task.folder / file
    value = json.loads(path.read_text(encoding="utf-8"))
    inner = value if isinstance(value, list) else next(iter(value.values()))["mc_question"]
    inner[-1][field] = inner[0][field]
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(AnnotationError, match="gives the id of a question before it") as caught:
        read_questions(task, data, Choice("test" if "test" in task.splits else mini.split))
    assert (Path(caught.value.file), caught.value.field) == (path, field)
    assert caught.value.where.endswith(str(len(inner) - 1))


UNNAMED = [
    ("mvbench", "json/action_antonym.json", "video"),
    ("mlvu", "json/1_plotQA.json", "video"),
    ("msvc", "msvc.json", "video_path"),
    ("egoschema", "questions.json", "q_uid"),
    ("tut2017", "tut2017_eval.jsonl", "audio"),
    ("vocalsound", "vocalsound_eval.jsonl", "audio"),
    ("music_avqa", "AVQA_music_test.json", "video"),
    ("clotho_aqa", "clothoAQA_eval.json", "audio"),
    ("scenes", "questions.json", "clip"),
]


@pytest.mark.parametrize(("name", "file", "field"), UNNAMED)
def test_a_medium_without_a_name_is_named(name: str, file: str, field: str, tmp_path: Path) -> None:
    """Else the folder of all clips would be taken for a folder of frames."""
    task, mini = both(name)
    data = whole(task, mini, tmp_path)
    path = data / task.folder / file
    text = path.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line]
    items = json.loads(text) if text.startswith("[") else [json.loads(row) for row in rows]
    items[-1][field] = " "
    lines = file.endswith("jsonl")
    path.write_text("\n".join(map(json.dumps, items)) if lines else json.dumps(items), "utf-8")
    with pytest.raises(AnnotationError, match=f"field '{field}' is empty") as caught:
        read_questions(task, data, Choice(mini.split))
    assert caught.value.where == str(len(items) - (not lines))


@pytest.mark.parametrize("name", NAMES)
def test_absent_files_are_named(name: str, tmp_path: Path) -> None:
    task, mini = both(name)
    for file in mini.files:
        needed = next((one for one in task.files if one.path == file), None)
        if file in mini.optional or (needed is not None and needed.optional):
            continue
        data = mini.lay_out(tmp_path / file.replace("/", "-"), task.folder)
        (data / task.folder / file).unlink()
        splits = needed.splits if needed is not None else ()
        with pytest.raises(AnnotationError, match="no such file"):
            read_questions(task, data, Choice(splits[0] if splits else mini.split))


@pytest.mark.parametrize("name", NAMES)
def test_submission(name: str, tmp_path: Path) -> None:
    task, mini = both(name)
    if task.submission is None:
        return
    data = whole(task, mini, tmp_path)
    _, samples = evaluate(task, data, oracle_or_c(mini), tmp_path / "out")
    text = task.submission.write((one.question, one.reply.answers, one.marks) for one in samples)
    assert text.endswith("\n")
    for sample in samples:
        assert sample.question.unit in text


def oracle_or_c(mini: Miniature):
    def answers(question: Question) -> list[str]:
        return list(mini.oracle(question)) if question.references else ["C"]

    return answers
