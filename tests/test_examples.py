"""The examples run, and show what they say."""

from __future__ import annotations

import importlib.util
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / "connector_alone.py"))


def test_parts_serve_another_model(
    alone: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    alone["main"]()
    said = capsys.readouterr().out
    assert "(2, 64, 32)" in said  # 8 x 8 x 8 patches, each axis halved
    assert "(2, 80, 32)" in said  # 160 x 128 of filter bank in patches of 16 x 16
    assert "(2, 10)" in said


def test_every_part_of_the_other_model_learns(alone: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = alone["OtherModel"]().eval()
    words = torch.randint(100, (1, 4))
    model(torch.randn(1, 8, 3, 64, 64), torch.randn(1, 64, 128), words).sum().backward()
    still = [name for name, part in model.named_parameters() if part.grad is None]
    assert set(still) <= {"ear.predictor.weight", "ear.predictor.bias"}


def test_the_other_model_hears_no_padding(alone: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = alone["OtherModel"]().eval()
    short = 15 + 6 * torch.randn(1, 64, 128)
    padded = torch.cat([short, torch.randn(1, 96, 128)], dim=1)
    mask = torch.arange(160)[None] < 64
    heard = model.hear(padded, mask)[:, : 4 * 8]
    torch.testing.assert_close(heard, model.hear(short), atol=1e-5, rtol=1e-4)


def test_the_demo_tells_what_it_took_in(
    tiny_folder: Path,
    media_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from videollama2 import VideoLlama2

    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    asked = [{"clip": "clip.mp4", "question": "who?"}, {"clip": "silent.mp4", "question": "what?"}]
    (media_folder / "questions.json").write_text(json.dumps(asked))
    model = VideoLlama2.from_pretrained(tiny_folder, device="cpu")
    monkeypatch.setattr(demo, "HERE", media_folder)
    monkeypatch.setattr(VideoLlama2, "from_pretrained", lambda name: model)
    demo.main()
    said = capsys.readouterr().out
    assert model.ask("who?", video=media_folder / "clip.mp4") in said
    assert "8 frames, 2.0 s of sound" in said
    assert "8 frames, 0.0 s of sound" in said
    assert "tokens a second" in said
    assert "no soundtrack" in said
