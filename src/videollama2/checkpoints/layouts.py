"""Released configs and parameter names <-> ours: plain dicts, no model class, below the model.

A released `config.json` is flat: the language model's own config with the vision, connector and
audio fields merged in (`mm_*`). Ours is nested. Each keeps what the other cannot say: a native
config remembers the `released_config` it came from, a released one the `videollama2_config`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videollama2.checkpoints.audioset import beats_names
from videollama2.checkpoints.beats_file import read_beats_config
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.names import to_native, to_released
from videollama2.checkpoints.token_ids import media_token_ids
from videollama2.checkpoints.towers import (
    HUB_IDS,
    KNOWN_TOWERS,
    last_name,
    tower_config,
    vision_half,
)

__all__ = [
    "KNOWN_TOWERS",
    "RELEASED_MODEL_TYPES",
    "downgrade_config",
    "is_released",
    "to_native",
    "to_released",
    "upgrade_config",
]

# model_type of a released config -> model_type of the language model inside.
RELEASED_MODEL_TYPES = {
    "videollama2": "mistral",  # the first release's name
    "videollama2_llama": "llama",
    "videollama2_mistral": "mistral",
    "videollama2_mixtral": "mixtral",
    "videollama2_qwen2": "qwen2",
    "videollama2_gemma2": "gemma2",
    "videollama2_phi3": "phi3",
}

NATIVE_MODEL_TYPE = "videollama2"
DEFAULT_NUM_FRAMES = 8
DEFAULT_CONNECTOR = "linear"
DEFAULT_SELECT_LAYER = -2
NATIVE_KEY = "videollama2_config"  # in a released config: the native one it came from
RELEASED_KEY = "released_config"  # in a native config: the released one it came from

# Fields of a flat config that are no business of the language model inside.
_NOT_TEXT = {
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures",
    "auto_map",
    "freeze_mm_mlp_adapter",
    "hidden_size_a",
    "image_aspect_ratio",
    "max_sequence_length",
    "model_type",
    "num_frames",
    "tokenizer_model_max_length",
    "tokenizer_padding_side",
    "torch_dtype",
    "transformers_version",
    "tune_mm_mlp_adapter",
    "tune_mm_mlp_adapter_a",
    "use_mm_proj",
    NATIVE_KEY,
}


def is_released(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is a released (flat) one, not ours (nested)."""
    if "text_config" in config:
        return False
    return str(config.get("model_type")) in RELEASED_MODEL_TYPES or "mm_vision_tower" in config


def language_model_type(config: Mapping[str, Any]) -> str:
    """The `model_type` of the language model inside a released config."""
    model_type = str(config.get("model_type", ""))
    return RELEASED_MODEL_TYPES.get(model_type, model_type)


def upgrade_config(
    config: Mapping[str, Any],
    folder: Path | None,
    *,
    vision_config: Mapping[str, Any] | None = None,
    audio_config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The nested config of ours (a plain dict) that a flat released one means.

    `folder` is the checkpoint's, where a tower or a BEATs file named by a relative path is looked
    for. `vision_config` and `audio_config` say the encoders where the checkpoint cannot.
    Fields as the released code reads them; absent ones take the released code's defaults.

    Raises:
        CheckpointError: the vision tower is missing, unknown, or of another width; a number is
            missing or none.
    """
    kept = config.get(NATIVE_KEY)
    if isinstance(kept, Mapping):
        native: dict[str, Any] = dict(kept)  # pyright: ignore[reportUnknownArgumentType]  (JSON)
        return native
    name = str(folder) if folder is not None else str(config.get("_name_or_path", "config.json"))
    vision = dict(vision_config) if vision_config else _vision_config(config, folder, name)
    dtype = config.get("dtype", config.get("torch_dtype"))
    text = {
        key: value
        for key, value in config.items()
        if key not in _NOT_TEXT and not key.startswith("mm_")
    }
    text["model_type"] = language_model_type(config)
    upgraded: dict[str, Any] = {
        "model_type": NATIVE_MODEL_TYPE,
        "architectures": ["VideoLlama2ForConditionalGeneration"],
        "text_config": text,
        "vision_config": vision,
        "connector_config": {
            "connector_type": str(config.get("mm_projector_type", DEFAULT_CONNECTOR)),
            "vision_hidden_size": _whole(vision, "hidden_size", name),
            "hidden_size": _whole(config, "hidden_size", name),
        },
        "audio_config": None,
        "vision_feature_layer": _whole(
            {"mm_vision_select_layer": DEFAULT_SELECT_LAYER, **config},
            "mm_vision_select_layer",
            name,
        ),
        "vision_feature_select": str(config.get("mm_vision_select_feature", "patch")),
        "num_frames": _whole(
            {"num_frames": config.get("num_frames") or DEFAULT_NUM_FRAMES}, "num_frames", name
        ),
        "media_mode": "released",
        "tie_word_embeddings": bool(config.get("tie_word_embeddings", False)),
        RELEASED_KEY: dict(config),
    }
    if "tie_word_embeddings" not in config:  # the family's own default decides
        del upgraded["tie_word_embeddings"]
    if dtype is not None:
        upgraded["dtype"] = dtype
        text["dtype"] = dtype
    if "mm_audio_tower" in config:
        tower = str(config["mm_audio_tower"])
        sound = dict(audio_config) if audio_config else read_beats_config(tower, folder)
        if sound == {"model_type": "beats"}:
            # The released encoder: its head is the fine-tuned BEATs file's, which no loss reaches.
            sound["id2label"] = beats_names()
        upgraded["audio_config"] = {**sound, "mask_padding": False}
        upgraded["audio_projector_type"] = str(config.get("mm_projector_a_type", "mlp2x_gelu"))
    return upgraded | media_token_ids(folder, _whole(config, "vocab_size", name))


def _whole(config: Mapping[str, Any], key: str, name: str) -> int:
    value = config.get(key)
    if isinstance(value, int):
        return value
    raise CheckpointError(
        name,
        f"config.json says {key} is {value!r:.80}, and it is a whole number",
        "Download the file again",
    )


def _vision_config(config: Mapping[str, Any], folder: Path | None, name: str) -> dict[str, Any]:
    tower = config.get("mm_vision_tower")
    if not isinstance(tower, str) or not tower:
        raise CheckpointError(
            name,
            "config.json names no vision tower (mm_vision_tower)",
            "Pass vision_tower=FOLDER_OR_HUB_ID, or load a plain language model elsewhere",
        )
    vision = vision_half(tower_config(tower, folder))
    width = config.get("mm_hidden_size", vision["hidden_size"])
    if width != vision["hidden_size"]:
        raise CheckpointError(
            name,
            f"config.json says frame features of width {width} (mm_hidden_size), but the vision "
            f"tower {tower} has width {vision['hidden_size']}",
            "Pass the tower it was trained with: vision_tower=FOLDER_OR_HUB_ID",
        )
    return vision


def downgrade_config(native: Mapping[str, Any]) -> dict[str, Any]:
    """The flat released config that a native one means: what `upgrade_config` would take back.

    Raises:
        CheckpointError: the released layout cannot say this model.
    """
    came_from = native.get(RELEASED_KEY)
    if isinstance(came_from, Mapping):
        released: dict[str, Any] = dict(came_from)  # pyright: ignore[reportUnknownArgumentType]
        again = upgrade_config(
            released,
            None,
            vision_config=native["vision_config"],
            audio_config=native.get("audio_config"),
        )
        if {**again, **_own_ids(native)} == dict(native):
            return released
        return {**released, **_flat_fields(native, released)}
    flat = _flat_fields(native, {})
    return {**flat, NATIVE_KEY: dict(native)}


def _own_ids(native: Mapping[str, Any]) -> dict[str, Any]:
    return {key: native[key] for key in native if key.endswith("_token_id")}


def _flat_fields(native: Mapping[str, Any], released: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a native config that the released layout has a place for."""
    text = dict(native["text_config"])
    family = str(text.pop("model_type"))
    model_type = f"videollama2_{family}"
    if model_type not in RELEASED_MODEL_TYPES:
        raise CheckpointError(
            "config.json",
            f"no released layout holds a {family} language model",
            f"Keep the native layout; released are {', '.join(sorted(RELEASED_MODEL_TYPES))}",
        )
    rope = text.pop("rope_parameters", None)
    if isinstance(rope, Mapping):
        text.update(_released_rope(rope))  # pyright: ignore[reportUnknownArgumentType]  (JSON)
    dtype = text.pop("dtype", native.get("dtype"))
    connector = native["connector_config"]
    vision = native["vision_config"]
    flat = {
        **text,
        "model_type": model_type,
        "architectures": [f"Videollama2{family.capitalize()}ForCausalLM"],
        "mm_vision_tower": released.get("mm_vision_tower") or tower_name(vision),
        "mm_projector_type": connector["connector_type"],
        "mm_hidden_size": int(vision["hidden_size"]),
        "hidden_size": int(connector["hidden_size"]),
        "mm_vision_select_layer": native.get("vision_feature_layer", DEFAULT_SELECT_LAYER),
        "mm_vision_select_feature": native.get("vision_feature_select", "patch"),
        "num_frames": native.get("num_frames", DEFAULT_NUM_FRAMES),
        "use_mm_proj": True,
    }
    if dtype is not None:
        flat["torch_dtype"] = dtype
    sound = native.get("audio_config")
    if sound:
        flat["mm_audio_tower"] = released.get("mm_audio_tower", "audio_tower.bin")
        flat["mm_projector_a_type"] = native.get("audio_projector_type", "mlp2x_gelu")
        flat["mm_hidden_size_a"] = int(sound.get("hidden_size", 768))
        flat["hidden_size_a"] = int(connector["hidden_size"])
    return flat


def _released_rope(rope: Mapping[str, Any]) -> dict[str, Any]:
    """transformers 5's rope parameters as the two fields that released configs have."""
    rest = {key: value for key, value in rope.items() if key != "rope_theta"}
    fields: dict[str, Any] = {"rope_theta": rope.get("rope_theta", 10000.0)}
    if rest.get("rope_type", "default") != "default":
        fields["rope_scaling"] = rest
    return fields


def tower_name(vision_config: Mapping[str, Any]) -> str:
    """The name a released config gives a tower: a hub id, or a folder beside the checkpoint.

    Raises:
        CheckpointError: the released code only knows CLIP and SigLIP towers.
    """
    for name, known in KNOWN_TOWERS.items():
        if all(vision_config.get(key) == value for key, value in known.items()):
            return HUB_IDS[name]
    kind = str(vision_config.get("model_type", ""))
    for family in ("siglip", "clip"):
        if kind == f"{family}_vision_model":
            return f"{family}-vision-tower"
    raise CheckpointError(
        "config.json",
        f"the released layout knows CLIP and SigLIP vision towers, not {kind!r}",
        "Keep the native layout",
    )


def is_known_tower(name: str) -> bool:
    """Whether a tower's config is known without a file."""
    return last_name(name) in KNOWN_TOWERS
