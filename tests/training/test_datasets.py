"""Every data set on a miniature of its published form; what is wrong with files and rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import FORMS, Form
from typer.testing import CliRunner

from videollama2.cli.main import app
from videollama2.training.datasets.base import DataSet
from videollama2.training.datasets.errors import DataSetError
from videollama2.training.datasets.json_stream import json_members, json_rows
from videollama2.training.datasets.prepare import Choice, Tally, prepare
from videollama2.training.datasets.record import problem_of
from videollama2.training.datasets.registry import data_sets, find
from videollama2.training.datasets.wordings import choose

# As the paper names them, and the released quick start's.
NAMES = [
    "panda-70m", "webvid-10m", "vidal-10m", "internvid-10m", "cc-3m", "dci",
    "wavcaps", "audiocaps", "clotho", "vggsound", "tut2016", "tut2017", "vocalsound", "musiccaps",
    "avqa", "music-avqa", "avsd",
    "something-something-v2", "kinetics-710", "msvd", "activitynet", "egoqa",
    "video-llava-pretrain", "video-llava-finetune",
]  # fmt: skip

forms = pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.name}:{form.task}")


def run(form: Form, root: Path, **choice: Any) -> tuple[Tally, list[dict[str, Any]]]:
    out = root / "records.jsonl"
    tally = prepare(find(form.name), root, out, Choice(task=form.task, **choice))
    return tally, [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def medium(record: dict[str, Any]) -> str | None:
    return next((record[kind] for kind in ("video", "image", "audio") if kind in record), None)


@forms
def test_published_form(form: Form, tmp_path: Path) -> None:
    tally, records = run(form, form.lay_out(tmp_path))
    said = {
        record["id"]: (medium(record), [turn["value"] for turn in record["conversations"][1::2]])
        for record in records
    }
    assert said == form.answers
    assert (tally.written, tally.absent, tally.malformed) == (len(form.answers), 0, {})
    for record in records:
        assert problem_of(record) is None
        asked = [turn["value"] for turn in record["conversations"][::2]]
        asked[0] = asked[0].split(">\n", 1)[1] if medium(record) else asked[0]
        if record["id"] in form.questions:
            assert asked == form.questions[record["id"]]
    assert not list(tmp_path.glob(".records*"))
    assert not (tmp_path / "records.jsonl.absent.txt").exists()


@forms
def test_a_byte_order_mark_and_crlf_change_nothing(form: Form, tmp_path: Path) -> None:
    """Files that went through a Windows editor."""
    root = form.lay_out(tmp_path)
    _, records = run(form, root)
    for path in form.files:
        text = (root / path).read_bytes().replace(b"\n", b"\r\n")
        (root / path).write_bytes(b"\xef\xbb\xbf" + text)
    tally, again = run(form, root)
    assert again == records
    assert tally.malformed == {}


@forms
def test_absent_media(form: Form, tmp_path: Path) -> None:
    root = form.lay_out(tmp_path)
    first = next((media for media, _ in form.answers.values() if media), None)
    if first is None:
        pytest.fail("a data set without media")
    (root / first).unlink()
    gone = sum(media == first for media, _ in form.answers.values())
    tally, kept = run(form, root, keep_missing=True)
    assert (tally.absent, len(kept)) == (gone, len(form.answers))
    listed = (tmp_path / "records.jsonl.absent.txt").read_text().splitlines()
    assert len(listed) == gone
    if gone < len(form.answers):
        tally, left = run(form, root)
        assert (tally.absent, len(left)) == (gone, len(form.answers) - gone)
        assert all(medium(record) != first for record in left)


@forms
def test_a_missing_file_is_named(form: Form, tmp_path: Path) -> None:
    root = form.lay_out(tmp_path)
    files = find(form.name).task(form.task)
    for name in (*files.files, *files.lookups):
        if name == ".":
            continue
        moved = (root / name).rename(root / "elsewhere")
        with pytest.raises(DataSetError) as caught:
            run(form, root)
        assert caught.value.file == str(root / name)
        moved.rename(root / name)


@pytest.mark.parametrize(
    ("form", "file", "field"),
    [(form, file, field) for form in FORMS for file, field in form.required],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_missing_field_is_named(form: Form, file: str, field: str, tmp_path: Path) -> None:
    root = form.lay_out(tmp_path)
    text = form.files[file]
    assert field in text
    (root / file).write_text(text.replace(field, "other"))
    with pytest.raises(DataSetError) as caught:
        run(form, root)
    assert (caught.value.file, caught.value.field) == (str(root / file), field)
    assert not (root / "records.jsonl").exists()


def test_every_data_set_of_the_paper() -> None:
    found = data_sets()
    assert sorted(found) == sorted(NAMES)
    assert {(form.name, form.task) for form in FORMS} <= {
        (one.name, task.name) for one in found.values() for task in one.tasks
    }
    assert {form.name for form in FORMS} == set(found)


@pytest.mark.parametrize("data_set", data_sets().values(), ids=lambda one: one.name)
def test_what_a_data_set_says(data_set: DataSet) -> None:
    assert data_set.source.startswith("http")
    assert data_set.licence
    assert data_set.paper_size or data_set.paper_note
    module = sys.modules[data_set.tasks[0].read.__module__]
    assert "Publisher:" in (module.__doc__ or "")
    for task in data_set.tasks:
        assert task.files
        assert task.fields
        if not task.slots:  # whoever asks in its own words has several
            assert len(set(task.prompts)) >= 4


def web_rows(count: int, root: Path) -> Path:
    """WebVid-10M with so many rows, all in one folder."""
    rows = [f"{n},u,d,p,caption {n}\n" for n in range(count)]
    (root / "results_10M_train.csv").write_text(
        "videoid,contentUrl,duration,page_dir,name\n" + "".join(rows)
    )
    (root / "videos/p").mkdir(parents=True, exist_ok=True)
    for n in range(count):
        (root / f"videos/p/{n}.mp4").touch()
    return root


def ids(root: Path, **choice: Any) -> list[str]:
    out = root / "out.jsonl"
    prepare(find("webvid-10m"), root, out, Choice(**choice))
    return [json.loads(line)["id"] for line in out.read_text().splitlines()]


def test_subsets(tmp_path: Path) -> None:
    root = web_rows(300, tmp_path)
    everything = ids(root)
    small, large = ids(root, limit=40), ids(root, limit=90)
    assert (len(small), len(large), len(everything)) == (40, 90, 300)
    assert set(small) < set(large)
    assert small == [one for one in everything if one in small]  # in the files' order
    assert small == ids(root, limit=40)
    assert small != ids(root, limit=40, seed=1)
    assert ids(root, limit=1000) == everything
    (root / "videos/p" / f"{small[0].split('/')[1]}.mp4").unlink()
    other = ids(root, limit=40)
    assert len(other) == 40
    assert set(small) - set(other) == {small[0]}


def test_bytes_are_the_same_in_another_process(tmp_path: Path) -> None:
    root = web_rows(50, tmp_path)
    texts: list[bytes] = []
    for seed in ("1", "2"):
        out = tmp_path / f"{seed}.jsonl"
        words = ["data", "prepare", "webvid-10m", "--root", root, "--out", out, "--limit", "9"]
        subprocess.run(
            [sys.executable, "-m", "videollama2", *map(str, words)],
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
        )
        texts.append(out.read_bytes())
    assert texts[0] == texts[1]


def test_duplicate_ids_keep_to_the_limit(tmp_path: Path) -> None:
    root = web_rows(3, tmp_path)
    file = root / "results_10M_train.csv"
    file.write_text(file.read_text() + "".join(f"{n % 3},u,d,p,again\n" for n in range(9)))
    for limit in range(1, 13):
        assert len(ids(root, limit=limit)) == min(limit, 12)


def test_malformed_rows_are_counted(tmp_path: Path) -> None:
    root = web_rows(3, tmp_path)
    file = root / "results_10M_train.csv"
    file.write_text(
        file.read_text()
        + "7,u,d,p,\n8,u,d,p,   \n9,u,d\n../../x,u,d,p,away\n1,u,d,p,a <video> in it\n"
    )
    tally = prepare(find("webvid-10m"), root, root / "out.jsonl", Choice())
    assert tally.written == 3
    assert {reason: count for reason, (count, _) in tally.malformed.items()} == {
        "'name' is empty": 2,
        "no field 'page_dir'": 1,
        "the media path is not inside the root": 1,
        "a placeholder inside the text": 1,
    }
    assert tally.malformed["'name' is empty"][1] == "results_10M_train.csv:5"


@forms
def test_training_reads_what_is_written(form: Form, tmp_path: Path) -> None:
    from videollama2.training.records import ReadOptions, read_records

    _, written = run(form, form.lay_out(tmp_path))
    read = list(read_records(tmp_path / "records.jsonl", ReadOptions(tmp_path)))
    assert [record.id for record in read] == [made["id"] for made in written]
    assert [len(record.turns) for record in read] == [
        len(made["conversations"]) for made in written
    ]


def form_of(name: str, task: str) -> Form:
    return next(form for form in FORMS if (form.name, form.task) == (name, task))


@pytest.mark.parametrize(
    ("name", "task", "file", "old", "new", "reason"),
    [
        ("panda-70m", "caption", "panda70m_training_full.csv", "['A dam.']", "A dam.", "no list"),
        ("panda-70m", "caption", "panda70m_training_full.csv", "['A dam.']", "['A','B']", "length"),
        ("cc-3m", "instructed", "chat.json", "image>", "video>", "not one <image>"),
        ("cc-3m", "instructed", "chat.json", '"from": "gpt"', '"from": "human"', "alternate"),
        ("tut2016", "choice", "meta.txt", "city_center", "moon", "no scene"),
        ("vggsound", "sound", "vggsound.csv", "30,waterfall", "x,waterfall", "no number"),
        ("vggsound", "sound", "vggsound.csv", "burbling,train", "burbling,val", "neither"),
        ("vocalsound", "label", "datafiles/tr.json", "/m/01b_21", "/m/0", "no label of"),
        ("music-avqa", "qa", "data/json/avqa-train.json", "<FL>", "so", "does not fit"),
        ("msvd", "qa", "train_qa.json", '"video_id": 1}', '"video_id": 7}', "none of youtube"),
        ("kinetics-710", "classify", "kinetics710/k400_train_list_videos.txt", " 1", " 3", "none"),
        ("activitynet", "qa", "train_a.json", "KXg_3", "KXg_4", "has no answer"),
        ("avqa", "qa", "data/train_qa.json", '"answer": 1', '"answer": 4', "none of the choices"),
        ("egoqa", "qa", "video/vqa/ego_qa/train.json", '"QA"', '"start":1,"end":2,"QA"', "a part"),
    ],
)
def test_rows_that_do_not_fit_are_counted(
    name: str, task: str, file: str, old: str, new: str, reason: str, tmp_path: Path
) -> None:
    form = form_of(name, task)
    root = form.lay_out(tmp_path)
    text = form.files[file]
    assert old in text
    (root / file).write_text(text.replace(old, new))
    if len(form.answers) == 1 or text.count(old) > 1:
        with pytest.raises(DataSetError, match=reason):
            run(form, root)
        return
    tally, records = run(form, root)
    assert len(records) < len(form.answers)
    [(said, (count, where))] = tally.malformed.items()
    assert (reason in said, count, Path(file).name in where) == (True, 1, True)


@pytest.mark.parametrize(
    ("name", "task", "text"),
    [("msvd", "qa", "a_1_2 vidX"), ("vocalsound", "label", "index,mid,display_name\n0,/m/0,")],
)
def test_a_broken_lookup_is_named(name: str, task: str, text: str, tmp_path: Path) -> None:
    form = form_of(name, task)
    root = form.lay_out(tmp_path)
    file = root / find(name).task(task).lookups[0]
    file.write_text(text)
    with pytest.raises(DataSetError) as caught:
        run(form, root)
    assert caught.value.file == str(file)


def test_other_splits_are_passed_over(tmp_path: Path) -> None:
    for number, (name, task, reason) in enumerate(
        (
            ("vggsound", "sound", "of the test split"),
            ("msvd", "caption", "of no training clip"),
            ("avsd", "qa", "its answers are kept back"),
        )
    ):
        form = form_of(name, task)
        tally, _ = run(form, form.lay_out(tmp_path / str(number)))
        assert {said: count for said, (count, _) in tally.passed_over.items()} == {reason: 1}


def test_some_files_of_several(tmp_path: Path) -> None:
    form = form_of("wavcaps", "caption")
    root = form.lay_out(tmp_path)
    _, records = run(form, root, annotations=("json_files/SoundBible/sb_final.json",))
    assert [record["id"] for record in records] == ["wavcaps/SoundBible/2218"]
    (root / "mine.json").write_text("[]")
    with pytest.raises(DataSetError, match="does not tell the source"):
        run(form, root, annotations=("mine.json",))


def test_an_instruction_can_be_asked_for(tmp_path: Path) -> None:
    form = form_of("egoqa", "qa")
    root = form.lay_out(tmp_path)
    _, [record] = run(form, root, phrasings=("{instruction} {question}",))
    value = record["conversations"][0]["value"]
    assert value == "<video>\nAnswer from the video. Where is the cup?"


def test_phrasings(tmp_path: Path) -> None:
    root = web_rows(60, tmp_path)
    out = root / "out.jsonl"
    prepare(find("webvid-10m"), root, out, Choice())
    asked = {
        record["id"]: record["conversations"][0]["value"]
        for record in map(json.loads, out.read_text().splitlines())
    }
    prompts = find("webvid-10m").tasks[0].prompts
    assert set(asked.values()) == {f"<video>\n{prompt}" for prompt in prompts}
    assert all(text == f"<video>\n{choose(prompts, one)}" for one, text in asked.items())
    prepare(find("webvid-10m"), root, out, Choice(phrasings=("Hm?",)))
    assert '"<video>\\nHm?"' in out.read_text().splitlines()[7]
    for wrong in ("{question}", "{", "", "{0}"):
        with pytest.raises(ValueError, match="phrasing"):
            prepare(find("webvid-10m"), root, out, Choice(phrasings=(wrong,)))


def test_nothing_usable_writes_nothing(tmp_path: Path) -> None:
    root = web_rows(2, tmp_path)
    for n in range(2):
        (root / f"videos/p/{n}.mp4").unlink()
    with pytest.raises(DataSetError, match=r"all 2 media files are absent, videos/p/0\.mp4"):
        prepare(find("webvid-10m"), root, root / "out.jsonl", Choice())
    assert sorted(path.name for path in root.iterdir()) == ["results_10M_train.csv", "videos"]


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=5), st.integers() | st.floats(allow_nan=False) | st.text(), max_size=3
        ),
        max_size=8,
    ),
    st.sampled_from([None, 0, 3]),
)
def test_json_is_read_as_a_whole_reader_reads_it(rows: list[Any], indent: int | None) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("videollama2.training.datasets.json_stream._CHUNK", 3)
        file = Path(folder, "rows.json")
        file.write_text(json.dumps(rows, indent=indent), encoding="utf-8")
        assert [row.values for row in json_rows(file)] == rows
        file.write_text(json.dumps({"n": 1, "data": rows, "z": [2]}, indent=indent), "utf-8")
        assert [row.values for row in json_rows(file, "data")] == rows
        named = {str(number): row for number, row in enumerate(rows)}
        file.write_text(json.dumps(named, indent=indent), encoding="utf-8")
        assert {name: row.values for name, row in json_members(file)} == named


@pytest.mark.parametrize("text", ["", "[{}", '[{"a": 1} {}]', "7", '{"a": 1}', '[{"a": tru}]'])
def test_broken_json_is_said(text: str, tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    file.write_text(text)
    with pytest.raises(DataSetError, match=r"chat\.json: no JSON of the published form"):
        list(json_rows(file))


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        ({"id": ""}, "no id"),
        ({"id": "a", "video": "/x.mp4"}, "not inside"),
        ({"id": "a", "video": "a/../../x.mp4"}, "not inside"),
        ({"id": "a", "video": "a.mp4", "image": "b.jpg"}, "more than one"),
        ({"id": "a", "conversations": []}, "no conversations"),
    ],
)
def test_the_validator_can_fail(made: dict[str, Any], problem: str) -> None:
    assert problem in (problem_of(made) or "")


@pytest.mark.parametrize(
    ("roles", "first", "problem"),
    [
        ("hg", "<video>\nWhat?", None),
        ("hghg", "<video>\nWhat?", None),
        ("hgh", "<video>\nWhat?", "odd number"),
        ("gh", "<video>\nWhat?", "alternate"),
        ("hh", "<video>\nWhat?", "alternate"),
        ("hg", "What?\n<video>", "does not come first"),
        ("hg", "<image>\nWhat?", "does not come first"),
        ("hg", "<video>\n", "empty"),
        ("hg", "<video>\nWhat <audio>?", "inside"),
    ],
)
def test_the_validator_on_turns(roles: str, first: str, problem: str | None) -> None:
    names = {"h": "human", "g": "gpt"}
    turns = [{"from": names[role], "value": "text"} for role in roles]
    turns[0]["value"] = first
    found = problem_of({"id": "a", "video": "a.mp4", "conversations": turns})
    assert (found is None) if problem is None else problem in (found or "")


def test_command_line(tmp_path: Path) -> None:
    root = web_rows(5, tmp_path)
    (root / "videos/p/3.mp4").unlink()
    out = tmp_path / "made.jsonl"
    words = ["data", "prepare", "WebVid_10M", "--root", str(root), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "4 records in" in done.stderr
    assert "videos/p/3.mp4" in done.stderr
    assert "made.jsonl.absent.txt" in done.stderr
    for more, code, said in (
        (["--task", "captoin"], 2, "Did you mean caption?"),
        (["--limit", "many"], 2, "give a number"),
        (["--limit", "0"], 2, "leaves no record"),
        (["--annotation", "other.csv"], 1, "no such file"),
        (["--annotation", "a", "--annotation", "b"], 2, "reads 1 annotation file"),
    ):
        done = CliRunner().invoke(app, [*words, *more])
        assert (done.exit_code, done.stdout) == (code, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    done = CliRunner().invoke(app, ["data", "prepare", "webvid", "--root", ".", "--out", "x"])
    assert done.exit_code == 2
    assert "Did you mean webvid-10m?" in done.stderr
    assert CliRunner().invoke(app, ["data", "prepare", "dci"]).exit_code == 2


def test_list_is_one_line_each() -> None:
    done = CliRunner().invoke(app, ["data", "prepare", "--list"])
    assert done.exit_code == 0
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == list(data_sets())
    assert {len(row) for row in rows} == {8}
    assert all(row[-1] in ("verified", "unverified") for row in rows)
    assert "2,800,000" in done.stdout
    looked_up = {one.name for one in data_sets().values() if one.licence_verified}
    assert {row[0] for row in rows if not row[5].endswith("(unverified)")} == looked_up


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from videollama2.training.datasets.registry import data_sets\n"
        "import videollama2.training.datasets.prepare, videollama2.cli.data\n"
        "assert data_sets()\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'av', 'PIL'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
