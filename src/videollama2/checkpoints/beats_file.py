"""The original BEATs file (`.pt` with `cfg` and `model`): its settings as a config of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from videollama2.checkpoints.audioset import names_of
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.towers import beside, last_name, read_json

# Original name -> ours. What the file does not say keeps the released defaults.
_FIELDS = {
    "encoder_embed_dim": "hidden_size",
    "encoder_layers": "num_hidden_layers",
    "encoder_attention_heads": "num_attention_heads",
    "encoder_ffn_embed_dim": "intermediate_size",
    "input_patch_size": "input_patch_size",
    "embed_dim": "patch_embedding_size",
    "conv_pos": "conv_pos",
    "conv_pos_groups": "conv_pos_groups",
    "num_buckets": "num_buckets",
    "max_distance": "max_distance",
    "deep_norm": "deep_norm",
    "encoder_layerdrop": "layer_drop",
    "layer_wise_gradient_decay_ratio": "layerwise_gradient_decay",
    "predictor_class": "num_sound_classes",
}

_LABELS = "label_dict"  # class -> AudioSet's id

# Switches of the original that the released encoder has in one position only.
_FIXED = {
    "activation_fn": "gelu",
    "conv_bias": False,
    "layer_norm_first": False,
    "relative_position_embedding": True,
    "gru_rel_pos": True,
}


def find_beats_file(name: str, folder: Path | None) -> Path | None:
    """The local file that a released config's `mm_audio_tower` means; None if there is none."""
    return next((path for path in beside(name, folder) if path.is_file()), None)


def read_beats_config(name: str, folder: Path | None) -> dict[str, Any]:
    """The audio encoder's config by the file that a released config names.

    Without the file, or where it holds weights only (`.bin`), the released encoder's values.

    Raises:
        CheckpointError: the file is damaged, or its encoder is built otherwise.
    """
    config: dict[str, Any] = {"model_type": "beats"}
    path = find_beats_file(name, folder)
    if path is None or path.suffix != ".pt":
        # Converted checkpoints say an unusual encoder in a JSON file of the same name.
        file = Path(name)  # "" and "/" name none
        beside_it = find_beats_file(str(file.with_suffix(".json")), folder) if file.name else None
        return config if beside_it is None else config | read_json(beside_it)
    return config | beats_config_of(read_beats_cfg(path), path)


def read_beats_cfg(path: Path) -> Mapping[str, Any]:
    """The `cfg` of an original file, and with it its `label_dict`, without reading its weights."""
    from videollama2.checkpoints.weights import load_pickle  # torch, only when there is a file

    content = load_pickle(path, map_location="meta")
    cfg = content.get("cfg") if isinstance(content, Mapping) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if not isinstance(cfg, Mapping):
        raise CheckpointError(
            path, "is no original BEATs file (it has no 'cfg')", "Pass audio_tower=BEATS_FILE.pt"
        )
    labels: Any = cast("Mapping[str, Any]", content).get(_LABELS)
    said: dict[str, Any] = {_LABELS: labels} if isinstance(labels, Mapping) else {}
    return {**cast("Mapping[str, Any]", cfg), **said}


def beats_config_of(cfg: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Our fields for an original file's `cfg`.

    Raises:
        CheckpointError: a switch stands where the released encoder cannot follow.
    """
    for key, value in _FIXED.items():
        if cfg.get(key, value) != value:
            raise CheckpointError(
                path,
                f"{key} is {cfg[key]!r}; this encoder is built for {value!r}",
                f"Use a fine-tuned BEATs iter3+ file instead of {last_name(str(path))}",
            )
    fields = {ours: cfg[theirs] for theirs, ours in _FIELDS.items() if theirs in cfg}
    if cfg.get("finetuned_model") is False:
        fields["num_sound_classes"] = 0
    elif _LABELS in cfg:
        fields["id2label"] = _names(cfg[_LABELS], path)
    return fields


def _names(labels: Any, path: Path) -> dict[int, str]:
    try:
        return names_of(labels)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            path, "holds a label_dict that does not number names", "Download the file again"
        ) from error
