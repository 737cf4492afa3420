"""Every released layout gives the same model; what does not fit is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.load import is_released_checkpoint, load_model
from videollama2.model.config import VideoLlama2Config
from videollama2.model.model import VideoLlama2ForConditionalGeneration

State = dict[str, torch.Tensor]
TOWER = "model.vision_tower.vision_tower.vision_model."


def variants(recorded: Path) -> list[Path]:
    folders = sorted(path.parent for path in recorded.glob("*/expected.safetensors"))
    assert folders
    return folders


def weights_of(folder: Path) -> State:
    if (folder / "model.safetensors").exists():
        return load_file(folder / "model.safetensors")
    return torch.load(folder / "pytorch_model.bin", weights_only=True)


def assert_equal(one: torch.nn.Module, other: torch.nn.Module) -> None:
    left, right = one.state_dict(), other.state_dict()
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert value.dtype == right[name].dtype
        assert torch.equal(value, right[name]), name


def rewrite(folder: Path, change: Any) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def test_every_recorded_variant_computes_what_was_recorded(recorded: Path) -> None:
    for folder in variants(recorded):
        model = load_model(folder)
        expected = load_file(folder / "expected.safetensors")
        with torch.no_grad():
            tokens = model.get_video_features(expected["video"][None]).pooler_output
            logits = model(inputs_embeds=expected["video.inputs_embeds"]).logits
        torch.testing.assert_close(tokens, expected["video_tokens"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(logits, expected["video.logits"], rtol=1e-4, atol=1e-4)
        assert not any(value.is_meta for value in [*model.parameters(), *model.buffers()])
        assert not model.training
        assert model.config.media_mode == "released"


def test_from_pretrained_takes_released_layouts(recorded: Path) -> None:
    for folder in variants(recorded):
        assert is_released_checkpoint(folder)
        assert_equal(
            VideoLlama2ForConditionalGeneration.from_pretrained(folder), load_model(folder)
        )


def test_dtype_is_the_checkpoints_or_as_asked(full: Path) -> None:
    assert load_model(full).dtype == torch.float32
    model = load_model(full, dtype="bfloat16")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.config.text_config.dtype == torch.bfloat16
    for name, value in load_model(full).named_parameters():
        assert torch.equal(model.get_parameter(name), value.bfloat16())
    with pytest.raises(CheckpointError, match="int8"):
        load_model(full, dtype="int8")


@pytest.mark.parametrize("device_map", ["auto", "cpu", {"": "cpu"}, {"model": "cpu", "lm_head": 0}])
def test_device_maps(full: Path, device_map: Any) -> None:
    if isinstance(device_map, dict) and 0 in device_map.values() and not torch.cuda.is_available():
        with pytest.raises((CheckpointError, RuntimeError, AssertionError)):
            load_model(full, device_map=device_map)
        return
    assert_equal(load_model(full, device_map=device_map).cpu(), load_model(full))


def test_a_map_that_places_not_all_is_refused(full: Path) -> None:
    with pytest.raises(CheckpointError, match="does not place"):
        load_model(full, device_map={"lm_head": "cpu"})
    with pytest.raises(CheckpointError, match="together"):
        load_model(full, device_map="auto", device="cpu")
    with pytest.raises(CheckpointError, match="nowhere"):
        load_model(full, device="nowhere")


def test_arguments_of_transformers_are_honoured_or_refused(full: Path) -> None:
    build = VideoLlama2ForConditionalGeneration.from_pretrained
    model = build(full, attn_implementation="eager", torch_dtype=torch.bfloat16)
    assert model.config.text_config._attn_implementation == "eager"
    assert model.config.vision_config._attn_implementation == "eager"
    assert model.dtype == torch.bfloat16
    with pytest.raises(CheckpointError, match="quantization_config"):
        build(full, quantization_config={})


# --- full: shards, .bin, tower outside ---


def test_shards_and_bin_give_the_same_model(full: Path, house: Path) -> None:
    whole = load_model(full)
    state = weights_of(full)
    halves = [dict(list(state.items())[::2]), dict(list(state.items())[1::2])]
    for kind in ("safetensors", "bin"):
        folder = house / kind
        folder.mkdir()
        shutil.copyfile(full / "config.json", folder / "config.json")
        stem = "model" if kind == "safetensors" else "pytorch_model"
        names = {}
        for index, half in enumerate(halves):
            file = f"{stem}-{index}.{kind}"
            if kind == "bin":
                torch.save(half, folder / file)
            else:
                save_file(half, folder / file)
            names |= dict.fromkeys(half, file)
        index_name = f"{'model.safetensors' if kind == 'safetensors' else 'pytorch_model.bin'}"
        (folder / f"{index_name}.index.json").write_text(json.dumps({"weight_map": names}))
        assert_equal(load_model(folder), whole)


def test_a_tower_outside_is_found_beside_or_taken_from_where_the_caller_says(
    full: Path, house: Path, tmp_path: Path
) -> None:
    whole = load_model(full)

    def without_tower(state: State) -> None:
        for name in [name for name in state if name.startswith(TOWER)]:
            del state[name]

    rewrite(full, without_tower)
    assert_equal(load_model(full), whole)
    tower = shutil.move(house / "clip-vit-tiny-patch14-56", tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"clip-vit-tiny-patch14-56.*vision_tower="):
        load_model(full)
    assert_equal(load_model(full, vision_tower=tower), whole)


def test_a_whole_clip_checkpoint_serves_as_tower(full: Path, house: Path) -> None:
    whole = load_model(full)
    tower = house / "clip-vit-tiny-patch14-56"
    config = json.loads((tower / "config.json").read_text())
    (tower / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": config}))
    state = load_file(tower / "model.safetensors")
    extra = {"logit_scale": torch.ones(()), "text_model.final_layer_norm.bias": torch.ones(4)}
    save_file(state | extra, tower / "model.safetensors")
    assert_equal(load_model(full, vision_tower=tower), whole)


# --- base and audio stages ---


def test_base_layout(full: Path, base: Path, house: Path, tmp_path: Path) -> None:
    whole = load_model(full)
    assert_equal(load_model(base), whole)
    language_model = shutil.move(house / "tiny-mistral", tmp_path / "lm")
    with pytest.raises(CheckpointError, match=r"someone/tiny-mistral.*language_model="):
        load_model(base)
    assert_equal(load_model(base, language_model=language_model), whole)


@pytest.mark.parametrize(
    "prefix", ["model.mm_projector.", "mm_projector.", "base_model.model.model.mm_projector.", ""]
)
def test_connector_files_with_any_prefix(full: Path, base: Path, prefix: str) -> None:
    state = torch.load(base / "mm_projector.bin", weights_only=True)
    renamed = {prefix + n.removeprefix("model.mm_projector."): v for n, v in state.items()}
    torch.save(renamed, base / "mm_projector.bin")
    assert_equal(load_model(base), load_model(full))


@pytest.mark.parametrize("prefix", ["model.audio_tower.", "audio_tower.", ""])
def test_audio_stage(sounding: Path, house: Path, prefix: str) -> None:
    whole = load_model(sounding)
    state = weights_of(sounding)
    own = {n: v for n, v in state.items() if "audio_tower" not in n and "mm_projector_a" not in n}
    tower = {
        n.removeprefix("model.audio_tower."): v for n, v in state.items() if "audio_tower" in n
    }
    named = {  # made of named parameters: the shared table is there once
        prefix + n: v
        for n, v in tower.items()
        if "relative_attention_bias" not in n or "layers.0." in n
    }
    torch.save(own, sounding / "pytorch_model.bin")
    torch.save(named, sounding / "audio_tower.bin")
    projector = {n: v for n, v in state.items() if "mm_projector_a" in n}
    torch.save(projector, sounding / "mm_projector_a.bin")
    assert_equal(load_model(sounding), whole)

    # The original file instead of audio_tower.bin, beside the checkpoint or as the caller says.
    (sounding / "audio_tower.bin").unlink()
    original = torch.load(house / "beats_tiny.pt", weights_only=True)["model"]
    heard = load_model(sounding)
    for name, value in heard.model.audio_tower.state_dict().items():
        assert torch.equal(value, original[name])
    moved = shutil.move(house / "beats_tiny.pt", house / "my-beats.pt")
    with pytest.raises(CheckpointError, match=r"beats_tiny\.pt.*audio_tower="):
        load_model(sounding)
    assert_equal(load_model(sounding, audio_tower=moved), heard)


def test_an_audio_stage_without_shards(sounding: Path, house: Path) -> None:
    """Both audio files alone, everything else from the model that they were trained on."""
    whole = load_model(sounding)
    state = weights_of(sounding)
    stage = house / "audio-stage"
    stage.mkdir()
    config = json.loads((sounding / "config.json").read_text())
    (stage / "config.json").write_text(json.dumps(config | {"_name_or_path": "x/sighted"}))
    for part in ("audio_tower", "mm_projector_a"):
        torch.save({n: v for n, v in state.items() if f"model.{part}." in n}, stage / f"{part}.bin")
    sighted = house / "sighted"
    sighted.mkdir()
    flat = {k: v for k, v in config.items() if not k.endswith(("_a", "_a_type", "audio_tower"))}
    (sighted / "config.json").write_text(json.dumps(flat))
    seen = {n: v for n, v in state.items() if "audio_tower" not in n and "projector_a" not in n}
    save_file(seen, sighted / "model.safetensors")
    assert load_model(sighted).model.audio_tower is None
    assert_equal(load_model(stage), whole)


def test_unequal_copies_of_the_shared_table_are_refused(sounding: Path) -> None:
    state = weights_of(sounding)
    name = "model.audio_tower.encoder.layers.1.self_attn.relative_attention_bias.weight"
    state[name] = state[name] + 1
    torch.save(state, sounding / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"layers\.1\..*should equal"):
        load_model(sounding)


# --- adapters ---


@pytest.fixture
def adapter(full: Path, base: Path, house: Path) -> Path:
    """A LoRA result over the plain language model, connector trained whole; named like nothing."""
    folder = house / "my-finetune"
    folder.mkdir()
    config = json.loads((base / "config.json").read_text())
    del config["_name_or_path"], config["tune_mm_mlp_adapter"]
    (folder / "config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(0)
    state: State = {}
    for layer in (0, 1):
        for module, rows, columns in (("self_attn.q_proj", 64, 64), ("mlp.down_proj", 64, 96)):
            stem = f"base_model.model.model.layers.{layer}.{module}"
            state[f"{stem}.lora_A.weight"] = torch.randn(4, columns, generator=generator)
            state[f"{stem}.lora_B.weight"] = torch.randn(rows, 4, generator=generator)
    save_file(state, folder / "adapter_model.safetensors")
    said = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 6,
        "base_model_name_or_path": "x/tiny-mistral",
    }
    (folder / "adapter_config.json").write_text(json.dumps(said))
    connector = {n: v for n, v in weights_of(full).items() if "mm_projector" in n}
    torch.save(
        {f"base_model.model.{n}": v + 1 for n, v in connector.items()},
        folder / "non_lora_trainables.bin",
    )
    return folder


def expected_of(full: Path, adapter: Path, scale: float) -> State:
    state = weights_of(full)
    low = load_file(adapter / "adapter_model.safetensors")
    for name in [n for n in low if "lora_A" in n]:
        weight = name.removeprefix("base_model.model.").replace(".lora_A.", ".")
        state[weight] = state[weight] + low[name.replace("lora_A", "lora_B")] @ low[name] * scale
    return {n: v + 1 if "mm_projector" in n else v for n, v in state.items()}


@pytest.mark.parametrize(("rslora", "scale"), [(False, 6 / 4), (True, 6 / 4**0.5)])
def test_lora_is_merged(full: Path, adapter: Path, rslora: bool, scale: float) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "use_rslora": rslora}))
    state = expected_of(full, adapter, scale)
    save_file(state, full / "model.safetensors")
    merged, expected = load_model(adapter).state_dict(), load_model(full).state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(merged[name], value, rtol=1e-5, atol=1e-5)


def test_an_adapter_as_bin_with_its_base_given(full: Path, adapter: Path, house: Path) -> None:
    first = load_model(adapter)
    low = load_file(adapter / "adapter_model.safetensors")
    renamed = {n.replace(".lora_A.", ".lora_A.default."): v for n, v in low.items()}
    torch.save(renamed, adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    moved = shutil.move(house / "tiny-mistral", house / "another-name")
    with pytest.raises(CheckpointError, match="language_model="):
        load_model(adapter)
    assert_equal(load_model(adapter, language_model=moved), first)
    assert_equal(load_model(adapter, language_model=full), first)  # over a full checkpoint


def test_what_is_no_lora_is_refused(adapter: Path) -> None:
    path = adapter / "adapter_config.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "use_dora": True}))
    with pytest.raises(CheckpointError, match="lacks DoRA's row lengths"):
        load_model(adapter)
    path.write_text(json.dumps({**said, "peft_type": "LOHA"}))
    with pytest.raises(CheckpointError, match="LOHA"):
        load_model(adapter)
    path.write_text(json.dumps(said))
    low = load_file(adapter / "adapter_model.safetensors")
    stem = "base_model.model.model.layers.7.self_attn.q_proj"
    low |= {f"{stem}.lora_A.weight": torch.ones(4, 64), f"{stem}.lora_B.weight": torch.ones(64, 4)}
    save_file(low, adapter / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"layers\.7\.self_attn\.q_proj"):
        load_model(adapter)


# --- what does not fit ---


def test_everything_that_does_not_fit_is_named_in_one_error(full: Path) -> None:
    def damage(state: State) -> None:
        del state["model.norm.weight"], state[f"{TOWER}pre_layrnorm.bias"]
        state["model.layers.9.mlp.up_proj.weight"] = torch.ones(2, 2)
        state["lm_head.weight"] = state["lm_head.weight"][:5].clone()

    rewrite(full, damage)
    with pytest.raises(CheckpointError) as raised:
        load_model(full)
    text = str(raised.value)
    for part in (
        str(full),
        "2 missing",
        "model.norm.weight",
        f"{TOWER}pre_layrnorm.bias",
        "1 unexpected",
        "model.layers.9.mlp.up_proj.weight",
        "1 wrongly shaped",
        "lm_head.weight (model.safetensors) is (5, 64), the model has (512, 64)",
    ):
        assert part in text


def test_a_missing_expert_is_named_as_the_files_name_it(recorded: Path, house: Path) -> None:
    folder = Path(shutil.copytree(recorded / "mixtral-clip-stc", house / "experts"))
    gone = "model.layers.1.block_sparse_moe.experts.3.w2.weight"
    rewrite(folder, lambda state: state.pop(gone))
    with pytest.raises(CheckpointError, match=r"1 missing") as raised:
        load_model(folder)
    assert "layers.1" in str(raised.value)
    assert "experts.3.w2.weight" in str(raised.value)


def test_damaged_files_are_named(full: Path, sounding: Path) -> None:
    for path in (full / "model.safetensors", sounding / "pytorch_model.bin"):
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(CheckpointError, match=path.name):
            load_model(path.parent)
    (full / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model(full)


def test_what_is_no_checkpoint_is_said(tmp_path: Path, house: Path, base: Path) -> None:
    for name in (tmp_path / "nowhere", "no such thing"):
        with pytest.raises(CheckpointError, match="no folder and no hub id"):
            load_model(name)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match="plain language model"):
        load_model(house / "tiny-mistral")
    (base / "mm_projector.bin").unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_model(base)
    assert not is_released_checkpoint(tmp_path)
    assert not is_released_checkpoint(None)


def test_a_hub_id_without_the_hub_says_what_to_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"nobody/nothing.*local folder"):
        load_model("nobody/nothing", cache_dir=tmp_path, local_files_only=True)


# --- families, against transformers' own language models ---

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


@pytest.mark.parametrize("family", ["mistral", "mixtral", "qwen2", "llama", "gemma2", "phi3"])
def test_every_family_answers_as_its_own_class_does(family: str, house: Path) -> None:
    """A Base checkpoint over a language model that transformers saved computes its logits."""
    own = VideoLlama2Config(text_config={"model_type": family, **SMALL}).text_config
    torch.manual_seed(0)
    theirs = AutoModelForCausalLM.from_config(own).eval()
    theirs.save_pretrained(house / "language-model")
    folder = house / "base"
    folder.mkdir()
    flat = json.loads((house / "language-model" / "config.json").read_text())
    flat |= {
        "model_type": f"videollama2_{family}",
        "mm_vision_tower": "clip-vit-tiny-patch14-56",
        "mm_projector_type": "linear",
        "_name_or_path": "x/language-model",
    }
    (folder / "config.json").write_text(json.dumps(flat))
    connector = {"weight": torch.randn(32, 32), "bias": torch.randn(32)}
    torch.save(
        {f"model.mm_projector.{k}": v for k, v in connector.items()}, folder / "mm_projector.bin"
    )
    model = load_model(folder)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).logits, theirs(input_ids=ids).logits)
    if own.tie_word_embeddings:
        assert model.lm_head.weight is model.get_input_embeddings().weight


def test_native_folders_are_loaded_strictly(tiny_folder: Path, tmp_path: Path) -> None:
    model = load_model(tiny_folder)
    assert_equal(model, VideoLlama2ForConditionalGeneration.from_pretrained(tiny_folder))
    assert not is_released_checkpoint(tiny_folder)
    broken = Path(shutil.copytree(tiny_folder, tmp_path / "broken"))
    rewrite(broken, lambda state: state.pop("model.language_model.norm.weight"))
    with pytest.raises(CheckpointError, match=r"1 missing:\n  model\.language_model\.norm\.weight"):
        load_model(broken)
