"""Released configs and names, against the recorded ones, the manifests and transformers' own."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.fit import Fit, fit
from videollama2.checkpoints.layouts import (
    RELEASED_MODEL_TYPES,
    downgrade_config,
    is_released,
    to_native,
    to_released,
    upgrade_config,
)
from videollama2.checkpoints.load import empty_model
from videollama2.checkpoints.names import canonical, strip_training_prefix
from videollama2.checkpoints.towers import KNOWN_TOWERS, tower_preprocessing
from videollama2.checkpoints.unused import known_unused
from videollama2.checkpoints.weights import StoredTensor
from videollama2.model.config import VideoLlama2Config

MANIFESTS = sorted((Path(__file__).parents[1] / "recorded" / "manifests").glob("*.json.gz"))

# The released sizes: parameters of the parts.
CONNECTORS = {
    (1024, 4096): 489_188_608,
    (1152, 3584): 376_889_248,
    (1024, 8192): 1_934_678_272,
}
BEATS, BEATS_ENTRIES, AUDIO_PROJECTOR = 90_717_055, 252, 15_604_736
TOWERS = {"clip_vision_model": 303_507_456, "siglip_vision_model": 428_225_600}

FLAT = {
    "model_type": "videollama2_mistral",
    "hidden_size": 64,
    "vocab_size": 100,
    "num_attention_heads": 4,
    "mm_vision_tower": "openai/clip-vit-large-patch14-336",
}


def read_manifest(path: Path) -> dict:
    return json.loads(gzip.decompress(path.read_bytes()))


def fit_manifest(manifest: dict) -> tuple[VideoLlama2Config, torch.nn.Module, Fit]:
    config = VideoLlama2Config.from_dict(upgrade_config(manifest["config"], None))
    model = empty_model(config)
    stored = {
        canonical(to_native(name)): StoredTensor(Path("x"), name, torch.bfloat16, tuple(shape), 0)
        for name, shape in manifest["parameters"].items()
    }
    targets = {canonical(name): tuple(p.shape) for name, p in model.state_dict().items()}
    return config, model, fit(targets, stored, known_unused(config))


def count(parameters: dict[str, list[int]], prefix: str) -> int:
    return sum(math.prod(s) for name, s in parameters.items() if name.startswith(prefix))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_manifests_fit_the_model_with_nothing_missing_and_nothing_left_over(path: Path) -> None:
    manifest = read_manifest(path)
    config, model, result = fit_manifest(manifest)
    result.check(path.name)
    assert (result.missing, result.unexpected, result.misshapen) == ([], [], [])

    parameters = manifest["parameters"]
    connector = config.connector_config
    widths = (connector.vision_hidden_size, connector.hidden_size)
    ours = {name: list(p.shape) for name, p in model.named_parameters()}
    assert count(ours, "model.connector.") == CONNECTORS[widths]
    assert count(parameters, "model.vision_tower.") == TOWERS[config.vision_config.model_type]
    unused = sum(math.prod(t.shape) for t in result.unused.values())
    whole = sum(math.prod(shape) for shape in parameters.values())
    assert count(ours, "") + unused == whole
    if config.audio_config is not None:
        shared = config.audio_config.num_buckets * config.audio_config.num_attention_heads
        assert count(ours, "model.audio_tower.") == BEATS
        copies = count(parameters, "model.audio_tower.") - BEATS
        assert copies == (config.audio_config.num_hidden_layers - 1) * shared
        entries = [name for name in parameters if name.startswith("model.audio_tower.")]
        assert len(entries) == BEATS_ENTRIES
        assert count(ours, "model.audio_projector.") == AUDIO_PROJECTOR


def test_six_manifests_are_here() -> None:
    assert len(MANIFESTS) == 6


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name.removesuffix(".json.gz"))
def test_every_released_name_comes_back(path: Path) -> None:
    names = list(read_manifest(path)["parameters"])
    native = [to_native(name) for name in names]
    assert [to_released(name) for name in native] == names
    assert len(set(native)) == len(names)


def test_a_manifest_that_does_not_fit_is_named(recorded: Path) -> None:
    manifest = read_manifest(MANIFESTS[0])
    parameters = manifest["parameters"]
    del parameters["model.norm.weight"]
    parameters["model.surplus"] = [1]
    parameters["lm_head.weight"] = [3, 3]
    _, _, result = fit_manifest(manifest)
    with pytest.raises(CheckpointError) as raised:
        result.check("the manifest", to_released)
    text = str(raised.value)
    for part in ("1 missing", "model.norm.weight", "1 unexpected", "model.surplus"):
        assert part in text
    assert "1 wrongly shaped" in text
    assert "lm_head.weight" in text
    assert "(3, 3)" in text


@pytest.mark.parametrize(("model_type", "family"), RELEASED_MODEL_TYPES.items())
def test_every_family_is_upgraded(model_type: str, family: str) -> None:
    native = upgrade_config({**FLAT, "model_type": model_type}, None)
    assert native["text_config"]["model_type"] == family
    config = VideoLlama2Config.from_dict(native)
    assert type(config.text_config) is type(AutoConfig.for_model(family))
    assert AutoConfig.for_model("clip_vision_model").model_type == config.vision_config.model_type


def test_released_defaults_where_the_config_says_nothing() -> None:
    native = upgrade_config(FLAT, None)
    assert native["num_frames"] == 8
    assert native["connector_config"]["connector_type"] == "linear"
    assert native["vision_feature_layer"] == -2
    assert native["vision_feature_select"] == "patch"
    assert native["media_mode"] == "released"
    assert native["audio_config"] is None
    assert native["vision_config"] == KNOWN_TOWERS["clip-vit-large-patch14-336"]


def test_rope_and_dtype_reach_the_language_model() -> None:
    flat = {**FLAT, "rope_theta": 1234.0, "torch_dtype": "bfloat16"}
    config = VideoLlama2Config.from_dict(upgrade_config(flat, None))
    assert config.text_config.rope_parameters["rope_theta"] == 1234.0
    assert config.dtype == torch.bfloat16
    assert config.text_config.dtype == torch.bfloat16


def test_beats_defaults_without_a_file_and_settings_from_one(recorded: Path) -> None:
    flat = {**FLAT, "mm_audio_tower": "beats_tiny.pt"}
    absent = VideoLlama2Config.from_dict(upgrade_config(flat, None)).audio_config
    assert (absent.hidden_size, absent.num_hidden_layers, absent.num_sound_classes) == (
        768,
        12,
        527,
    )
    assert absent.mask_padding is False
    beside = VideoLlama2Config.from_dict(upgrade_config(flat, recorded)).audio_config
    assert (beside.hidden_size, beside.num_hidden_layers, beside.num_sound_classes) == (48, 3, 7)
    assert beside.mask_padding is False


def test_an_unknown_tower_is_said_by_name_with_a_remedy() -> None:
    with pytest.raises(CheckpointError, match=r"clip-of-mine.*vision_tower="):
        upgrade_config({**FLAT, "mm_vision_tower": "me/clip-of-mine"}, None)
    with pytest.raises(CheckpointError, match="mm_vision_tower"):
        upgrade_config({k: v for k, v in FLAT.items() if k != "mm_vision_tower"}, None)


def test_a_tower_of_another_width_is_refused() -> None:
    with pytest.raises(CheckpointError, match="width 7"):
        upgrade_config({**FLAT, "mm_hidden_size": 7}, None)


def test_known_towers_are_transformers_own(recorded: Path) -> None:
    for fields in KNOWN_TOWERS.values():
        config = AutoConfig.for_model(**fields)
        assert {key: getattr(config, key) for key in fields} == fields


def test_image_settings_equal_the_towers_own(recorded: Path) -> None:
    for name in ("clip-vit-tiny-patch14-56", "siglip-tiny-patch14-56"):
        said = json.loads((recorded / name / "preprocessor_config.json").read_text())
        known = tower_preprocessing(json.loads((recorded / name / "config.json").read_text()))
        keys = ("size", "crop_size", "image_mean", "image_std", "resample", "rescale_factor")
        assert {k: known.get(k) for k in keys} == {k: said.get(k) for k in keys}


def test_released_and_native_configs_are_told_apart(recorded: Path) -> None:
    assert is_released(FLAT)
    assert is_released({**FLAT, "model_type": "videollama2"})
    assert not is_released(upgrade_config(FLAT, None))
    assert not is_released({"model_type": "mistral"})


def test_config_round_trip_keeps_every_field() -> None:
    flat = {**FLAT, "image_aspect_ratio": "pad", "mm_projector_lr": 2e-5, "a_field_of_theirs": [1]}
    native = json.loads(json.dumps(upgrade_config(flat, None)))
    assert downgrade_config(native) == flat


def test_a_changed_native_config_changes_the_released_one() -> None:
    native = upgrade_config({**FLAT, "a_field_of_theirs": 1}, None)
    native["num_frames"] = 32
    flat = downgrade_config(native)
    assert flat["num_frames"] == 32
    assert flat["a_field_of_theirs"] == 1
    assert upgrade_config(flat, None)["num_frames"] == 32


def test_a_native_config_survives_the_released_form(tiny_model: object) -> None:
    native = json.loads(tiny_model.config.to_json_string(use_diff=False))  # type: ignore[attr-defined]
    flat = downgrade_config(native)
    assert is_released(flat)
    assert upgrade_config(flat, None) == native


def test_a_family_that_was_never_released_is_refused() -> None:
    native = upgrade_config(FLAT, None)
    native["text_config"]["model_type"] = "qwen3"
    native.pop("released_config")
    with pytest.raises(CheckpointError, match="qwen3"):
        downgrade_config(native)


@pytest.mark.parametrize(
    ("saved", "released"),
    [
        ("base_model.model.model.mm_projector.readout.0.bias", "model.mm_projector.readout.0.bias"),
        ("base_model.model.lm_head.weight", "lm_head.weight"),
        ("model.model.mm_projector.0.weight", "model.mm_projector.0.weight"),
        ("model.mm_projector.0.weight", "model.mm_projector.0.weight"),
        ("base_model.model.model.layers.3.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"),
        ("lm_head.weight", "lm_head.weight"),
    ],
)
def test_prefixes_of_training_wrappers_fall_off(saved: str, released: str) -> None:
    assert strip_training_prefix(saved) == released


def test_media_token_ids_follow_the_tokenizer(tiny_folder: Path, tiny_tokenizer: object) -> None:
    native = upgrade_config({**FLAT, "vocab_size": 1000}, tiny_folder)
    for field, token in (("video", "<video>"), ("image", "<image>"), ("audio", "<audio>")):
        wanted = tiny_tokenizer.convert_tokens_to_ids(token)  # type: ignore[attr-defined]
        assert native[f"{field}_token_id"] == wanted
    without = upgrade_config({**FLAT, "vocab_size": 1000}, None)
    ids = [without[f"{field}_token_id"] for field in ("video", "image", "audio")]
    assert ids == [1000, 1001, 1002]
