"""What well-known parts look like, so that a run can be planned without fetching anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from videollama2.assistant import resolve
from videollama2.checkpoints.language_models import LANGUAGE_MODELS
from videollama2.checkpoints.layouts import KNOWN_TOWERS
from videollama2.checkpoints.towers import last_name, tower_config
from videollama2.model.config import VideoLlama2Config
from videollama2.training.errors import TrainingError
from videollama2.training.recipe import ModelSection


def planned_config(section: ModelSection) -> VideoLlama2Config:
    """The config of the model a recipe starts from: of its folder, else of its parts' names.

    Raises:
        TrainingError: a part is neither a folder nor known here.
    """
    start = None if section.start is None else Path(resolve(section.start))
    if start is not None and (start / "config.json").is_file():
        configs: Any = VideoLlama2Config  # its base class is untyped
        config: VideoLlama2Config = configs.from_pretrained(start)
        config.num_frames = section.num_frames
        return config
    audio: dict[str, Any] | None = None if section.audio is None else {}
    return VideoLlama2Config(
        vision_config=_vision(section.vision),
        text_config=_language(section.language_model),
        audio_config=audio,
        connector_config={"connector_type": section.connector},
        num_frames=section.num_frames,
        media_mode=section.media_mode or "released",
    )


def _language(name: str) -> dict[str, Any]:
    known = LANGUAGE_MODELS.get(last_name(name))
    if known is not None:
        return known
    if (Path(name) / "config.json").is_file():
        return tower_config(str(Path(name).resolve()), None)
    raise TrainingError(_unknown("language_model", name, tuple(LANGUAGE_MODELS)))


def _vision(name: str) -> dict[str, Any]:
    if last_name(name) in KNOWN_TOWERS:
        return dict(KNOWN_TOWERS[last_name(name)])
    if (Path(name) / "config.json").is_file():
        return tower_config(str(Path(name).resolve()), None)
    raise TrainingError(_unknown("vision", name, tuple(KNOWN_TOWERS)))


def _unknown(key: str, name: str, known: tuple[str, ...]) -> str:
    return (
        f"model.{key} {name}: its shape is not known without its files; give a folder with its "
        f"config.json, or one of {', '.join(known)}"
    )
