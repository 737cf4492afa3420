"""What is special to one benchmark: its awkward answers, its submission, its file's mistakes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from miniatures import miniatures
from miniatures.videomme import ROWS, write
from stubs import evaluate

from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.published import published, published_metrics, published_of
from videollama2.evaluation.registry import all_tasks, find
from videollama2.evaluation.run import Choice, read_questions
from videollama2.evaluation.task import Question
from videollama2.evaluation.tasks.mvbench import PARTS


def lay_out(name: str, tmp_path: Path) -> Path:
    return miniatures()[name].lay_out(tmp_path / "data", find(name).folder)


@pytest.mark.parametrize(
    ("said", "right", "released", "strict"),
    [
        ("yes", "yes", (1, 1), (1, 1)),
        ("Yes.", "yes", (1, 0), (1, 1)),  # the binary accuracy takes no full stop
        ("YES", "Yes", (1, 1), (1, 1)),
        ("yes . ", "yes", (1, 0), (1, 1)),
        ("no", "yes", (0, 0), (0, 0)),
        ("yes, it is", "yes", (0, 0), (0, 0)),
        ("Bell. ", "bell", (1, None), (1, None)),
        (" bell", "bell", (0, None), (1, None)),  # only the end is stripped
        ("Glöckchen!", "glöckchen", (0, None), (1, None)),
        ("", "bell", (0, None), (0, None)),
    ],
)
def test_clotho_aqa_scoring(said: str, right: str, released: tuple, strict: tuple) -> None:
    task = find("clotho_aqa")
    marks = task.score(Question("x", ("?",), (), (right,)), [said])
    for mark, (accuracy, binary) in ((marks.released, released), (marks.strict, strict)):
        assert mark.scores["accuracy"] == accuracy
        assert mark.scores.get("binary accuracy") == binary
    assert (marks.strict.parse is None) == (not said)


def test_egoschema_submission(tmp_path: Path) -> None:
    """Every question of the full set, by number; one without an answer is the released C."""
    task = find("egoschema")
    data = lay_out("egoschema", tmp_path)
    said = {"aa-1": "(A)", "bb-2": "no idea", "dd-4": "E"}
    summary, samples = evaluate(task, data, lambda q: [said[q.id]], tmp_path / "out")
    assert task.submission is not None
    text = task.submission.write((one.question, one.reply.answers, one.marks) for one in samples)
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [["q_uid", "answer"], ["aa-1", "0"], ["bb-2", "2"], ["cc-3", "2"], ["dd-4", "4"]]
    # Of the full set the three public ones are scored; one of them has no video.
    released, strict = (summary.figure("accuracy", one).interval for one in ("released", "strict"))
    assert (released.value, released.count) == (50, 2)
    assert (round(strict.value, 1), strict.count) == (33.3, 3)
    assert (summary.counts.defaulted, summary.counts.unparsable) == (1, 1)


def test_egoschema_public_answers_are_checked(tmp_path: Path) -> None:
    data = lay_out("egoschema", tmp_path)
    (data / "egoschema" / "subset_answers.json").write_text('{"aa-1": 5}')
    with pytest.raises(AnnotationError, match="'aa-1' is 5, no number from 0 to 4"):
        read_questions(find("egoschema"), data, Choice())


def test_mvbench_parts() -> None:
    assert len(PARTS) == 20
    assert sum(part.ranged for part in PARTS) == 5
    assert PARTS[3].file == "json/fine_grained_action.json"


def test_mvbench_accuracy_is_over_samples_and_per_task(tmp_path: Path) -> None:
    task = find("mvbench")
    data = lay_out("mvbench", tmp_path)
    right = {"Action Count 0", "Action Count 1", "Object Shuffle 0"}
    summary, _ = evaluate(
        task,
        data,
        lambda q: q.references if q.id in right else ("B",),
        tmp_path / "out",
    )
    accuracy = summary.figure("accuracy").interval
    assert accuracy is not None
    assert accuracy.value == pytest.approx(100 * 3 / 38)  # two questions have no clip
    assert summary.figure("accuracy", "strict").interval.value == pytest.approx(100 * 3 / 40)
    assert summary.figure("accuracy", group=("task", "Action Count")).interval.value == 100
    assert summary.figure("accuracy", group=("task", "Object Shuffle")).interval.value == 50
    assert summary.chance == pytest.approx(100 * (1 / 3 + 1 / 4) / 2)


def test_mvbench_names_an_answer_that_is_no_candidate(tmp_path: Path) -> None:
    data = lay_out("mvbench", tmp_path)
    file = data / "mvbench/json/state_change.json"
    file.write_text(file.read_text().replace('"answer": "Not sure"', '"answer": "x"'))
    with pytest.raises(AnnotationError, match=r"state_change.json\[0\]: field 'answer' is none of"):
        read_questions(find("mvbench"), data, Choice())


def test_more_candidates_than_letters_are_named(tmp_path: Path) -> None:
    data = lay_out("mvbench", tmp_path)
    file = data / "mvbench/json/state_change.json"
    items = json.loads(file.read_text())
    items[1]["candidates"] = [*items[1]["candidates"], *map(str, range(24))]
    file.write_text(json.dumps(items))
    with pytest.raises(AnnotationError, match=r"\[1\]: field 'candidates' are 27, more than there"):
        read_questions(find("mvbench"), data, Choice())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": ["A. x", "B. y"]}, "holds 2 options, not four"),
        ({"options": ["x", "B. y", "C. z", "D. w"]}, "begins with no letter"),
        ({"answer": "E"}, "is no letter from A to D"),
        ({"question": None}, "is no text"),
    ],
)
def test_videomme_names_what_is_malformed(tmp_path: Path, change: dict, message: str) -> None:
    root = tmp_path / "videomme"
    root.mkdir()
    write(root / "test-00000-of-00001.parquet", [*ROWS[:2], {**ROWS[2], **change}])
    with pytest.raises(AnnotationError, match=message) as caught:
        read_questions(find("videomme"), tmp_path, Choice())
    assert (caught.value.where, caught.value.field) == ("2", next(iter(change)))


def test_videomme_needs_its_columns_and_a_parquet_file(tmp_path: Path) -> None:
    root = tmp_path / "videomme"
    root.mkdir()
    file = root / "test-00000-of-00001.parquet"
    write(file, [{name: value for name, value in ROWS[0].items() if name != "domain"}])
    with pytest.raises(AnnotationError, match="field 'domain' is missing"):
        read_questions(find("videomme"), tmp_path, Choice())
    file.write_bytes(b"PAR1 no")
    with pytest.raises(AnnotationError, match="no Parquet"):
        read_questions(find("videomme"), tmp_path, Choice())


def test_answers_must_belong_to_the_questions(tmp_path: Path) -> None:
    data = lay_out("msvd_qa", tmp_path)
    file = data / "MSVD_Zero_Shot_QA" / "test_a.json"
    answers = json.loads(file.read_text())
    file.write_text(json.dumps(answers[:2]))
    with pytest.raises(AnnotationError, match="2 answers to 3 questions"):
        read_questions(find("msvd_qa"), data, Choice())
    file.write_text(json.dumps([answers[1], answers[0], answers[2]]))
    with pytest.raises(AnnotationError, match=r"is not that of the question there \(39\)"):
        read_questions(find("msvd_qa"), data, Choice())


def test_video_chatgpt_aspects_belong_to_their_files(tmp_path: Path) -> None:
    task = find("video_chatgpt")
    wrong = "temporal 0"
    summary, samples = evaluate(
        task,
        lay_out("video_chatgpt", tmp_path),
        lambda q: ("no",) * len(q.prompts) if q.id == wrong else q.references * len(q.prompts),
        tmp_path / "out",
    )
    values = {one.name: summary.figure(one.name).interval for one in task.metrics}
    assert {name: (one.value, one.count) for name, one in values.items() if one} == {
        "correctness": (5, 2),
        "detail": (5, 2),
        "context": (5, 2),
        "temporal": (0, 1),
        "consistency": (5, 1),
    }
    assert summary.figure("consistency", "strict").interval.value == 2.5  # one video is missing
    assert len(samples[-2].reply.answers) == 2


def test_scenes_are_as_many_as_the_bundled_clips_have() -> None:
    clips = Path(__file__).parents[2] / "starter" / "clips"
    assert len(read_questions(find("scenes"), clips, Choice())) == find("scenes").size


def test_published_figures_stand_beside_the_metrics_that_there_are() -> None:
    known = all_tasks()
    for task, metric in published_metrics():
        if task in known:
            assert known[task].metric(metric)
    assert published_of("DAMO-NLP-SG/VideoLLaMA2-7B", "mvbench", "accuracy") == 53.4
    assert published_of("./checkpoints/VideoLLaMA2.1-7B-AV/", "clotho_aqa", "accuracy") == 71.02
    assert published_of("starter", "mvbench", "accuracy") is None
    assert len(published("videomme", "accuracy")) == 5
    assert published("videomme", "none") == ()
