"""Converting there and back gives the same bits; nothing half-written stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from videollama2.checkpoints import export
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.export import convert
from videollama2.checkpoints.gather import Elsewhere
from videollama2.checkpoints.load import is_released_checkpoint, load_model
from videollama2.model.model import VideoLlama2ForConditionalGeneration

State = dict[str, torch.Tensor]


def read(folder: Path) -> State:
    """All tensors of a folder's model, by safetensors and torch alone."""
    state: State = {}
    for path in sorted(folder.glob("*.bin")):
        state |= torch.load(path, weights_only=True)
    for path in sorted(folder.glob("*.safetensors")):
        if path.name not in ("expected.safetensors", "unused.safetensors"):
            state |= load_file(path)
    return state


def assert_same(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype
        assert torch.equal(value.view(-1).view(torch.uint8), other[name].view(-1).view(torch.uint8))


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


def test_released_there_and_back(recorded: Path, tmp_path: Path) -> None:
    folders = sorted(path.parent for path in recorded.glob("*/expected.safetensors"))
    for src in folders:
        native, back, again = (tmp_path / src.name / name for name in ("native", "back", "again"))
        assert convert(src, native, max_shard_size="200KB") == native
        convert(native, back, "released")
        convert(back, again, "native", max_shard_size="200KB")
        assert_same(read(back), read(src))
        assert config_of(back) == config_of(src)
        assert_same(read(again), read(native))
        assert config_of(again) == config_of(native)
        assert len(list(native.glob("model-*.safetensors"))) > 1
        assert not list(back.glob("*.bin"))
        assert is_released_checkpoint(back)
        assert not is_released_checkpoint(native)
        generation = (src / "generation_config.json").read_text()
        assert (native / "generation_config.json").read_text() == generation

        state = load_model(src).state_dict()
        for folder in (native, back, again):  # far from the towers beside the original
            assert_same(load_model(folder).state_dict(), state)


def test_a_native_folder_is_whole_for_transformers(recorded: Path, tmp_path: Path) -> None:
    src = recorded / "mixtral-clip-stc"
    if not src.is_dir():
        src = next(recorded.glob("*/expected.safetensors")).parent
    convert(src, tmp_path / "native")
    model, info = VideoLlama2ForConditionalGeneration.from_pretrained(
        tmp_path / "native", output_loading_info=True
    )
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same(model.state_dict(), load_model(src).state_dict())


@pytest.mark.parametrize("original_format", [True, False])
def test_what_transformers_saved_goes_back(
    recorded: Path, tmp_path: Path, original_format: bool
) -> None:
    """Experts stacked in the file or not, names with today's spelling: the same model."""
    model = load_model(recorded / "mixtral-clip-stc")
    model.save_pretrained(tmp_path / "saved", save_original_format=original_format)
    convert(tmp_path / "saved", tmp_path / "released", "released")
    names = read(tmp_path / "released").keys()
    assert names <= read(recorded / "mixtral-clip-stc").keys()
    assert_same(load_model(tmp_path / "released").state_dict(), model.state_dict())


def test_a_native_model_there_and_back(tiny_folder: Path, tmp_path: Path) -> None:
    convert(tiny_folder, tmp_path / "released", "released")
    convert(tmp_path / "released", tmp_path / "back", "native")
    assert_same(read(tmp_path / "back"), read(tiny_folder))
    assert config_of(tmp_path / "back") == config_of(tiny_folder)
    names = read(tmp_path / "released")
    assert "model.embed_tokens.weight" in names
    assert any(name.startswith("model.mm_projector.s1.") for name in names)
    flat = config_of(tmp_path / "released")
    assert flat["model_type"] == "videollama2_qwen2"
    assert flat["mm_projector_type"] == "stc_connector_v35"
    assert_same(
        load_model(tmp_path / "released").state_dict(), load_model(tiny_folder).state_dict()
    )


def test_parts_become_one_checkpoint(full: Path, base: Path, tmp_path: Path) -> None:
    convert(base, tmp_path / "whole", "released")
    assert_same(load_model(tmp_path / "whole").state_dict(), load_model(full).state_dict())
    assert config_of(tmp_path / "whole")["tune_mm_mlp_adapter"] is False
    moved = shutil.move(base.parent / "tiny-mistral", tmp_path / "lm")
    with pytest.raises(CheckpointError, match="language_model="):
        convert(base, tmp_path / "other")
    convert(base, tmp_path / "other", elsewhere=Elsewhere(language_model=moved))
    assert_same(load_model(tmp_path / "other").state_dict(), load_model(full).state_dict())


def test_half_precision_keeps_its_bits(full: Path, tmp_path: Path) -> None:
    state = {
        name: value.bfloat16() for name, value in load_file(full / "model.safetensors").items()
    }
    state["model.norm.weight"][0] = float("nan")
    save_file(state, full / "model.safetensors")
    convert(full, tmp_path / "native")
    convert(tmp_path / "native", tmp_path / "back", "released")
    assert_same(read(tmp_path / "back"), state)


def test_tokenizer_files_travel_unchanged(full: Path, tiny_folder: Path, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny_folder / name, full / name)
    (full / "README.md").write_text("A card.")
    convert(full, tmp_path / "native")
    convert(tmp_path / "native", tmp_path / "back", "released")
    for folder in (tmp_path / "native", tmp_path / "back"):
        for name in ("tokenizer.json", "tokenizer_config.json", "README.md"):
            assert (folder / name).read_bytes() == (full / name).read_bytes()
    assert (tmp_path / "native" / "processor_config.json").is_file()
    assert not (tmp_path / "back" / "processor_config.json").exists()


# --- what is refused, and what stays behind: nothing ---


def test_a_folder_that_is_not_empty_is_refused(full: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not empty"):
        convert(full, tmp_path / "taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    convert(full, tmp_path / "empty")
    assert (tmp_path / "empty" / "config.json").is_file()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError("disk full")])
def test_nothing_half_written_stays(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    def interrupted(*_: object) -> None:
        raise stop

    monkeypatch.setattr(export, "write_sharded", interrupted)
    (tmp_path / "into").mkdir()
    with pytest.raises(type(stop) if isinstance(stop, OSError) else KeyboardInterrupt):
        convert(full, tmp_path / "into" / "dst")
    assert not list((tmp_path / "into").iterdir())


def test_an_incomplete_checkpoint_is_not_converted(full: Path, tmp_path: Path) -> None:
    state = load_file(full / "model.safetensors")
    del state["model.norm.weight"]
    save_file(state, full / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 missing:\n  model\.norm\.weight"):
        convert(full, tmp_path / "dst")
    assert not (tmp_path / "dst").exists()


def test_no_such_layout(full: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no layout"):
        convert(full, tmp_path / "dst", "onnx")  # type: ignore[arg-type]
