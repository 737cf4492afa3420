"""Recipes: the paper's and the scripts' figures, and one clear line for what is wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.training.errors import TrainingError
from videollama2.training.recipe import BatchSection
from videollama2.training.recipe_file import (
    differences,
    dump_recipe,
    load_recipe,
    recipe_names,
)

ROOT = Path(__file__).parents[2]


def wrong(name: str, *settings: str) -> str:
    with pytest.raises(TrainingError) as caught:
        load_recipe(name, settings)
    return str(caught.value)


# The released scripts and the paper: name, paper's total and epochs, scripts' total,
# records on one device, epochs, frames, saving, keeping; the parts that train.
TABLE = [
    ("video_pretrain", 1024, 1, 256, 8, 1, 500, 99, {"connector": 1e-3}),
    ("video_finetune", 2048, 3, 128, 4, 1, 500, 99, {"connector": 2e-5, "language_model": 2e-5}),
    ("audio_pretrain", 1024, 1, 1024, 32, 1, 1000, 1, {"audio_projector": 1e-3}),
    ("audio_finetune", 2048, 2, 128, 4, 2, 2000, 2, {"audio": 2e-5, "audio_projector": 2e-5}),
    (
        "audio_visual_joint", 2048, 2, 128, 4, 2, 2000, 2,
        {"connector": 2e-5, "audio": 2e-5, "audio_projector": 2e-5, "language_model": 2e-5},
    ),
    ("lora", 128, 1, 128, 4, 1, 500, 99, {"connector": 2e-5}),
    ("qlora", 128, 1, 128, 4, 1, 500, 99, {"connector": 2e-5}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "paper", "epochs", "scripts", "device", "script_epochs", "every", "keep", "trains"),
    TABLE,
)
def test_figures(
    name: str,
    paper: int,
    epochs: int,
    scripts: int,
    device: int,
    script_epochs: int,
    every: int,
    keep: int,
    trains: dict[str, float],
) -> None:
    recipe = load_recipe(name)
    assert (recipe.stage, recipe.batch.total, recipe.optimizer.epochs) == (name, paper, epochs)
    released = load_recipe(name, ["values=released"])
    assert (released.batch.total, released.batch.per_device) == (scripts, device)
    assert released.optimizer.epochs == script_epochs
    assert (released.run.save_every, released.run.keep) == (every, keep)
    for one in (recipe, released):
        assert one.train.rates() == trains
        optimizer = one.optimizer
        assert (optimizer.schedule, optimizer.warmup_ratio, optimizer.weight_decay) == (
            "cosine", 0.03, 0.0,
        )  # fmt: skip
        assert (one.seed, one.data.max_text_tokens, one.data.workers) == (42, 2048, 4)
        assert (one.model.num_frames, one.optimizer.gradient_checkpointing) == (16, True)


def test_the_rest_of_the_figures() -> None:
    assert load_recipe("audio_visual_joint").data.ratio == (2, 1, 1)
    adapter = load_recipe("lora").adapter
    assert adapter is not None
    assert (adapter.rank, adapter.alpha, adapter.dropout, adapter.learning_rate) == (
        128, 256, 0.05, 2e-5,
    )  # fmt: skip
    labels = {name: load_recipe(name).data.labels for name in recipe_names()}
    assert {name for name, form in labels.items() if form == "plain"} == {
        "video_pretrain",
        "audio_pretrain",
    }
    geometry = {name: load_recipe(name).model.geometry for name in recipe_names()}
    assert geometry["video_pretrain"] == "square"
    assert geometry["video_finetune"] == geometry["audio_visual_joint"] == "pad"


def test_every_recipe_is_in_the_table_and_at_hand() -> None:
    assert set(recipe_names()) == {row[0] for row in TABLE}
    for name in recipe_names():
        assert (ROOT / "recipes" / f"{name}.yaml").is_file()


@given(st.integers(1, 4096), st.integers(1, 64), st.integers(1, 64))
def test_the_global_batch_is_kept_or_refused(total: int, per_device: int, devices: int) -> None:
    batch = BatchSection(total=total, per_device=per_device)
    if total % (per_device * devices) == 0:
        assert batch.accumulation(devices) * per_device * devices == total
        return
    with pytest.raises(TrainingError) as caught:
        batch.accumulation(devices)
    said = str(caught.value)
    if "try batch.per_device=" in said:
        near = int(said.rpartition("=")[2])
        BatchSection(total=total, per_device=near).accumulation(devices)


def test_settings_on_top() -> None:
    recipe = load_recipe(
        "video_pretrain",
        ["train.vision=2e-6", "data.files=[a.json, {path: b.jsonl, folder: /b}]", "batch.total=8",
         "adapter.rank=4", "model.start=some/folder", "values=released"],
    )  # fmt: skip
    assert recipe.train.rates() == {"vision": 2e-6, "connector": 1e-3}
    assert [file.folder for file in recipe.data.files] == [".", "/b"]
    assert recipe.batch.total == 8  # what is said goes before values=released
    assert recipe.adapter is not None
    assert (recipe.adapter.rank, recipe.adapter.alpha) == (4, 256)
    assert load_recipe("video_pretrain", ["data.files=a.json"]).data.files[0].path == "a.json"


def test_a_resolved_recipe_reads_the_same(tmp_path: Path) -> None:
    recipe = load_recipe("audio_visual_joint", ["data.files=[a, b, c]", "values=released"])
    file = tmp_path / "recipe.yaml"
    file.write_text(dump_recipe(recipe))
    assert load_recipe(str(file)) == recipe
    moved = load_recipe(str(file), ["run.folder=there", "batch.per_device=1", "data.workers=0"])
    assert differences(recipe, moved) == []
    assert differences(recipe, load_recipe(str(file), ["train.audio=1e-5"])) == [
        "train.audio was 2e-05 and is 1e-05"
    ]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("batch.totl=3", "batch.totl is no setting; did you mean batch.total?"),
        ("learning_rate=3", "learning_rate is no setting; did you mean adapter.learning_rate?"),
        ("total=3", "did you mean batch.total?"),
        ("train.vison=1e-4", "did you mean train.vision?"),
        ("adapter.rnk=3", "did you mean adapter.rank?"),
        ("data.files=[{path: a, foldr: b}]", "did you mean data.files.folder?"),
        ("batch.total=many", "batch.total is 'many'"),
        ("batch.total=0", "batch.total is 0"),
        ("model.num_frames=true", "model.num_frames is True"),
        ("values=papers", "values is 'papers'"),
        ("train.connector=null", "nothing trains"),
        ("batch", "a setting is key=value"),
        ("batch.total=[1", "is no YAML"),
    ],
)
def test_wrong_settings(setting: str, said: str) -> None:
    message = wrong("video_pretrain", setting)
    assert said in message
    assert "\n" not in message


def test_settings_that_do_not_fit() -> None:
    assert "one for each" in wrong("audio_visual_joint", "data.files=a.json")
    assert "with adapters and without" in wrong("lora", "train.language_model=1e-5")


def test_every_wrong_setting_has_its_line() -> None:
    assert len(wrong("lora", "batch.totl=3", "train.visn=3", "seed=x").splitlines()) == 3


def test_wrong_files(tmp_path: Path) -> None:
    assert "did you mean video_pretrain?" in wrong("video_pretran")
    assert "no such file" in wrong(str(tmp_path / "none.yaml"))
    file = tmp_path / "some.yaml"
    file.write_text("- a")
    assert "a recipe is a mapping" in wrong(str(file))
    file.write_text("a: [\n")
    assert f"{file}:2: is no YAML" in wrong(str(file))
    good = (ROOT / "recipes" / "lora.yaml").read_text()
    file.write_text(good + "  batch.totl: 3\n")  # in the released values, which are not taken
    assert "did you mean batch.total?" in wrong(str(file))


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_setting_is_taken_or_refused_in_words(key: str, value: Any) -> None:
    with contextlib.suppress(TrainingError):
        load_recipe("lora", [f"{key}={value}"])
