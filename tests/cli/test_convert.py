"""`videollama2 convert`: there and back."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from typer.testing import CliRunner

from videollama2.cli.main import app


def convert(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_there_and_back(tiny_folder: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "released", tmp_path / "native"
    assert convert(tiny_folder, there, "--to", "released", "--max-shard-size", "100KB")[0] == 0
    assert len(list(there.glob("*.safetensors"))) > 1
    code, out, err = convert(there, back)
    assert (code, out) == (0, "")
    assert str(back) in err
    before = load_file(tiny_folder / "model.safetensors")
    after = load_file(back / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)


def test_what_cannot_be_converted(tiny_folder: Path, tmp_path: Path) -> None:
    code, _, err = convert(tmp_path / "nothing", tmp_path / "out")
    assert code == 1
    assert str(tmp_path / "nothing") in err
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    code, _, err = convert(tiny_folder, full)
    assert code == 1
    assert str(full) in err
    assert convert(tiny_folder, tmp_path / "out", "--to", "sideways")[0] == 2
    assert not (tmp_path / "out").exists()
