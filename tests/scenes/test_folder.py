"""The made data set: what its lists name is there, and every answer is one of its world's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from videollama2.evaluation.registry import all_tasks
from videollama2.media.probe import probe
from videollama2.scenes.folder import write_folder
from videollama2.scenes.standin import standin_world
from videollama2.training.records import ReadOptions, absent_files, read_records


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("week")
    write_folder(standin_world(), out, clips=6, held_out=6, seed=1, size=64)
    return out


@pytest.mark.parametrize("name", ["video", "audio", "audio_visual"])
def test_training_reads_the_lists(folder: Path, name: str) -> None:
    records = read_records(folder / f"{name}.json", ReadOptions(folder))
    assert records
    assert not absent_files(records)


def test_clips_are_seen_and_heard(folder: Path) -> None:
    for path in [*folder.glob("clips/*.mp4"), *folder.glob("benchmarks/egoschema/*/*.mp4")]:
        found = probe(path)
        assert found.has_video
        assert found.has_audio
        assert found.duration_s == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize("name", ["egoschema", "clotho_aqa", "scenes"])
def test_benchmarks_are_read_by_their_tasks(folder: Path, name: str) -> None:
    task = all_tasks()[name]
    split = "subset" if "subset" in task.splits else task.splits[0]
    questions = [*task.read(folder / "benchmarks" / task.folder, split)]
    assert questions
    assert all(medium.path is not None for q in questions for medium in q.media)
    assert all(q.references for q in questions)


def test_no_scene_is_both_learned_and_asked(folder: Path) -> None:
    learned = {path.read_bytes() for path in folder.glob("sounds/*.wav")}
    asked = {path.read_bytes() for path in folder.glob("benchmarks/audio_files/*.wav")}
    assert not learned & asked


def _empty(_scene: object, _world: object, path: Path, **_: object) -> None:
    path.touch()


def _silence(*_: object) -> np.ndarray:
    return np.zeros(16, np.float32)


def test_the_right_option_stands_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videollama2.scenes.folder.write_clip", _empty)
    monkeypatch.setattr(
        "videollama2.scenes.folder.render_sound", lambda *_: np.zeros(16, np.float32)
    )
    write_folder(standin_world(), tmp_path, clips=0, held_out=300, seed=2)
    places = Counter(
        json.loads((tmp_path / "benchmarks/egoschema/subset_answers.json").read_text()).values()
    )
    total = sum(places.values())
    assert total > 100
    # Each of five places: 5 standard deviations of a fair draw either way.
    spread = 5 * (total * 0.2 * 0.8) ** 0.5
    assert all(abs(places[n] - total / 5) < spread for n in range(5))


def test_the_same_seed_gives_the_same_lists_and_keeps_clips(tmp_path: Path, folder: Path) -> None:
    write_folder(standin_world(), tmp_path, clips=6, held_out=6, seed=1, size=64)
    for name in ("video.json", "audio.json", "audio_visual.json", "benchmarks/clothoAQA_eval.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    clip = next(tmp_path.glob("clips/*.mp4"))
    before = clip.stat().st_mtime_ns
    write_folder(standin_world(), tmp_path, clips=6, held_out=6, seed=1, size=64)
    assert clip.stat().st_mtime_ns == before
