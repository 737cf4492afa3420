"""`videollama2 compose`: one command, then the first stage on what it left."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from videollama2.cli.main import app


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_the_newcomers_first_stage(media_folder: Path, tmp_path: Path) -> None:
    """The starter's parts under another connector, which then learns from a caption."""
    fresh = tmp_path / "fresh"
    code, out, err = run(
        "compose", fresh, "--language-model", "starter", "--vision", "starter",
        "--audio", "starter", "--connector", "mlp2x_gelu", "--num-frames", 4,
    )  # fmt: skip
    assert (code, out) == (0, ""), err
    lines = {line.split()[0]: line for line in err.splitlines()}
    assert lines["connector"].endswith("begins afresh")
    assert lines["vision"].endswith("starter")
    talk = [{"from": "human", "value": "<video>\nWhat is it?"}, {"from": "gpt", "value": "A clip."}]
    record = {"video": "clip.mp4", "conversations": talk}
    (tmp_path / "r.jsonl").write_text(json.dumps(record) + "\n")
    code, out, err = run(
        "train", "video_pretrain", f"model.start={fresh}", "model.num_frames=4",
        f"data.files=[{{path: {tmp_path / 'r.jsonl'}, folder: {media_folder}}}]",
        f"run.folder={tmp_path / 'run'}", "batch.total=1", "batch.per_device=1", "data.workers=0",
    )  # fmt: skip
    assert (code, out) == (0, f"{tmp_path / 'run' / 'model'}\n"), err


def test_what_is_said(tmp_path: Path) -> None:
    code, _, err = run("compose", tmp_path / "out", "--language-model", "starter")
    assert (code, err) == (1, "videollama2: compose: there is no vision. Say --vision or --model\n")
    code, _, err = run("compose", tmp_path / "out", "--model", "starter", "--connector", "qformer")
    assert code == 2
    assert "choose one of stc_connector, stc_connector_v35" in err
    assert not list(tmp_path.iterdir())
    code, out, _ = run("compose", "--help")
    assert code == 0
    assert "train video_pretrain" in out
