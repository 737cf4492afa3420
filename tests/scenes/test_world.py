from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from videollama2.scenes import World, WorldFileError, ask, draw_scene, load_world, pack_world
from videollama2.scenes.names import COLOURS, INSTRUMENTS, THINGS


def test_a_packed_world_comes_back(world: World, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "world.npz"
    notes = np.round(world.notes * 32768).clip(-32768, 32767).astype(np.int16)
    pack_world(path, world.names, world.sprites, world.sounding, notes)
    back = load_world(path)
    assert (back.names, back.sounding) == (world.names, world.sounding)
    assert np.array_equal(back.sprites, world.sprites)
    assert np.abs(back.notes - world.notes).max() <= 1 / 32768
    with np.load(path, allow_pickle=False) as packed:  # readable without pickle
        assert all(packed[name].dtype != object for name in packed.files)
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    scene = draw_scene(back, rng)
    assert scene == draw_scene(world, again)
    assert ask(scene, back, rng) == ask(scene, world, again)


def test_files_that_are_no_world(world: World, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_world(tmp_path / "missing.npz")
    np.savez(tmp_path / "part.npz", names=np.array(["a"]))
    with pytest.raises(WorldFileError, match="notes, sounding, sprites"):
        load_world(tmp_path / "part.npz")
    notes = np.zeros((len(world.sounding), 5, 12_800), np.int16)
    with pytest.raises(WorldFileError, match="sprites are"):
        pack_world(tmp_path / "w.npz", world.names, world.sprites[:3], world.sounding, notes)
    with pytest.raises(WorldFileError, match="notes are"):
        pack_world(tmp_path / "w.npz", world.names, world.sprites, world.sounding, notes[:, :, 1:])
    with pytest.raises(WorldFileError, match="no thing"):
        pack_world(tmp_path / "w.npz", world.names, world.sprites, ("a",) * 6, notes)
    assert not (tmp_path / "w.npz").exists()


def test_the_names_fit_together() -> None:
    assert len(THINGS) == 60
    assert len(set(THINGS.values())) == 60
    assert set(INSTRUMENTS) <= set(THINGS)
    assert 12 <= len(INSTRUMENTS) <= 14
    for name in THINGS:
        assert name.isalpha()
        assert name.islower()
    assert not set(THINGS) & set(COLOURS)


def test_standin_sounds_can_be_told_apart(world: World) -> None:
    """Any two sounds differ by more, in their spectra, than the pitches of one do at their best."""
    spectra = np.abs(np.fft.rfft(world.notes, axis=2))
    spectra /= np.linalg.norm(spectra, axis=2, keepdims=True)
    flat = spectra.reshape(-1, spectra.shape[2])
    alike = flat @ flat.T
    owner = np.repeat(np.arange(len(world.sounding)), 5)
    assert alike[owner[:, None] != owner[None, :]].max() < 0.95


def test_the_room_imports_nothing_of_ours_and_no_heavy_package() -> None:
    code = (
        "import sys, videollama2.scenes as s; s.load_world(None);"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers', 'av', 'PIL')"
        " or m.startswith('videollama2.') and not m.startswith('videollama2.scenes')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
