"""Our settings in vLLM's words, as far as they can be told without vLLM."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from typer.testing import CliRunner

from videollama2.cli.main import app
from videollama2.engines.vllm.settings import EngineOptions, stop_ids


@pytest.mark.parametrize("from_the_hub", [False, True])
def test_stop_tokens_are_those_of_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_the_hub: bool
) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 8]}))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    config = SimpleNamespace(text_config=SimpleNamespace(eos_token_id=2))
    name = "ORG/NAME" if from_the_hub else str(tmp_path)
    assert stop_ids(name, config, SimpleNamespace(eos_token_id=3)) == {3, 7, 8}
    (tmp_path / "generation_config.json").unlink()
    assert stop_ids(name, config, SimpleNamespace(eos_token_id=3)) == {2, 3}


@pytest.mark.parametrize("apart", [False, True])
def test_what_serve_asks_of_the_engine(monkeypatch: pytest.MonkeyPatch, apart: bool) -> None:
    asked: list[EngineOptions] = []
    monkeypatch.setattr("videollama2.engines.vllm.missing.find_spec", lambda name: name)
    monkeypatch.setattr(
        "videollama2.engines.vllm.online.OnlineEngine", lambda _, options: asked.append(options)
    )
    monkeypatch.setattr(
        "videollama2.serving.lifecycle.run", lambda service, *_: service.worker._load()
    )
    words = ["serve", "--engine", "vllm", "--port", "0", "--max-rows", "3", "--dtype", "float32"]
    done = CliRunner().invoke(app, [*words, *["--cache-per-key"] * apart])
    assert done.exit_code == 0, done.output
    arguments = replace(asked[0], eager=True).arguments()
    assert arguments["max_num_seqs"] == 3
    assert arguments["dtype"] == "float32"
    names = ("enable_prefix_caching", "mm_processor_cache_gb")  # None: as vLLM has it, on
    assert [arguments.get(name) for name in names] == ([False, 0] if apart else [None, None])
