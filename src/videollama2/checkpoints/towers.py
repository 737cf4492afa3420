"""The two released vision towers, known by heart, and how any other is found by its name.

A released config names its tower by hub id or path alone. The two that were released are known
here, so that a full checkpoint needs no second download; another one is looked for beside the
checkpoint.
"""

import json
import math
from collections.abc import Iterator, Mapping
from math import isqrt
from pathlib import Path
from typing import Any

from videollama2.checkpoints.errors import CheckpointError

CLIP_LARGE_336 = "clip-vit-large-patch14-336"
SIGLIP_SO400M_384 = "siglip-so400m-patch14-384"

# The hub ids that the released configs use for them.
HUB_IDS = {
    CLIP_LARGE_336: "openai/clip-vit-large-patch14-336",
    SIGLIP_SO400M_384: "google/siglip-so400m-patch14-384",
}

KNOWN_TOWERS: dict[str, dict[str, Any]] = {
    CLIP_LARGE_336: {
        "model_type": "clip_vision_model",
        "attention_dropout": 0.0,
        "hidden_act": "quick_gelu",
        "hidden_size": 1024,
        "image_size": 336,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 4096,
        "layer_norm_eps": 1e-05,
        "num_attention_heads": 16,
        "num_channels": 3,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "projection_dim": 768,
    },
    SIGLIP_SO400M_384: {
        "model_type": "siglip_vision_model",
        "attention_dropout": 0.0,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 1152,
        "image_size": 384,
        "intermediate_size": 4304,
        "layer_norm_eps": 1e-06,
        "num_attention_heads": 16,
        "num_channels": 3,
        "num_hidden_layers": 27,
        "patch_size": 14,
    },
}

# Image settings by the kind of tower, for the tower's own `image_size` (official-size: 336, 384).
_CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
_CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
_IMAGENET_MEAN = [0.485, 0.456, 0.406]
_IMAGENET_STD = [0.229, 0.224, 0.225]

# A whole CLIP or SigLIP model's config holds the vision half under this key.
_VISION_HALF = {"clip": "clip_vision_model", "siglip": "siglip_vision_model"}


def last_name(name: str) -> str:
    """The last part of a hub id or path: `openai/clip-vit-...` -> `clip-vit-...`."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2]


def beside(name: str, folder: Path | None) -> Iterator[Path]:
    """Where a file or folder that a config names may lie: as said, in the folder, beside it."""
    as_said = Path(name)
    if as_said.is_absolute():
        yield as_said
    if folder is not None:
        yield folder / last_name(name)
        yield folder.resolve().parent / last_name(name)


def find_tower(name: str, folder: Path | None) -> Path | None:
    """The local folder (with a `config.json`) that a released config's tower name means."""
    return next((path for path in beside(name, folder) if (path / "config.json").is_file()), None)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        CheckpointError: the file is missing, is no JSON, or holds no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_hook=_float_or_object)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            path, f"is no valid JSON ({error})", "Download the file again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(path, "does not hold a JSON object", "Download the file again")
    return value  # pyright: ignore[reportUnknownVariableType]  (JSON)


_FLOATS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


def _float_or_object(value: dict[str, Any]) -> Any:
    """As transformers writes the numbers that JSON has not: `{"__float__": "Infinity"}`."""
    tag = value.get("__float__")
    return _FLOATS.get(tag, value) if len(value) == 1 and isinstance(tag, str) else value


def vision_half(config: Mapping[str, Any]) -> dict[str, Any]:
    """A tower's own config, out of a whole CLIP or SigLIP model's where it is one."""
    half = config.get("vision_config")
    if not isinstance(half, Mapping):
        return dict(config)
    kind = str(config.get("model_type", ""))
    fields: dict[str, Any] = dict(half)  # pyright: ignore[reportUnknownArgumentType]  (JSON)
    return {**fields, "model_type": _VISION_HALF.get(kind, fields.get("model_type", kind))}


def tower_config(name: str, folder: Path | None) -> dict[str, Any]:
    """The config of the tower that a released config names.

    Raises:
        CheckpointError: the tower is neither known nor beside the checkpoint.
    """
    path = find_tower(name, folder)
    if path is not None:
        return vision_half(read_json(path / "config.json"))
    if last_name(name) in KNOWN_TOWERS:
        return dict(KNOWN_TOWERS[last_name(name)])
    where = f"beside {folder}" if folder is not None else "here"
    raise CheckpointError(
        name,
        f"this vision tower is none of the known ones ({', '.join(KNOWN_TOWERS)}) and no folder "
        f"{last_name(name)!r} with a config.json lies {where}",
        "Put the tower's folder beside the checkpoint, or pass vision_tower=FOLDER_OR_HUB_ID",
    )


def tower_preprocessing(vision_config: Mapping[str, Any]) -> dict[str, Any]:
    """Image settings of a tower, as its `preprocessor_config.json` would say them.

    Raises:
        CheckpointError: no settings are known for this kind of tower.
    """
    kind = str(vision_config.get("model_type", ""))
    side = picture_side(vision_config)
    if kind.startswith("siglip"):
        return _settings("SiglipImageProcessor", {"height": side, "width": side}, [0.5] * 3)
    crop = {"crop_size": {"height": side, "width": side}, "do_center_crop": True}
    if kind.startswith("clip"):
        square = {"shortest_edge": side}
        return _settings("CLIPImageProcessor", square, _CLIP_MEAN, _CLIP_STD) | crop
    if kind.startswith("dinov2"):
        square = {"shortest_edge": side}
        return _settings("BitImageProcessor", square, _IMAGENET_MEAN, _IMAGENET_STD) | crop
    raise CheckpointError(
        kind or "vision tower",
        "no image settings are known for this kind of tower",
        "Put the tower's preprocessor_config.json into its folder beside the checkpoint",
    )


def picture_side(vision_config: Mapping[str, Any]) -> int:
    """Pixels along a side of the picture that a tower was trained on (SigLIP 2 says patches)."""
    if vision_config.get("image_size") is None and "siglip2" in str(
        vision_config.get("model_type")
    ):
        patches = int(vision_config.get("num_patches", 256))
        return isqrt(patches) * int(vision_config.get("patch_size", 16))
    return int(vision_config.get("image_size", 224))


def _settings(
    kind: str, size: dict[str, int], mean: list[float], std: list[float] | None = None
) -> dict[str, Any]:
    return {
        "image_processor_type": kind,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": mean,
        "image_std": mean if std is None else std,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": size,
    }
