"""A checkpoint of any layout -> the processor that makes its inputs."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.gather import Elsewhere, checkpoint_config, tokenizer_folder
from videollama2.checkpoints.layouts import RELEASED_KEY
from videollama2.checkpoints.locate import HubOptions, find_folder, layout_of
from videollama2.checkpoints.parts import FoundPart
from videollama2.checkpoints.token_ids import TOKENIZER_FILES
from videollama2.checkpoints.towers import find_tower, picture_side, read_json, tower_preprocessing
from videollama2.model.config import VideoLlama2Config
from videollama2.processing.chat import MISTRAL_TEMPLATE, released_template
from videollama2.processing.processor import VideoLlama2Processor
from videollama2.processing.tokens import KINDS, settle_token_ids

PROCESSOR_CONFIG = "processor_config.json"
_IMAGE_SETTINGS = "preprocessor_config.json"
_OWN = ("native", "adapter")  # layouts in which a processor of ours may lie


def load_processor(
    name_or_path: str | os.PathLike[str],
    *,
    language_model: str | os.PathLike[str] | None = None,
    vision_tower: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> VideoLlama2Processor:
    """The processor of a checkpoint, ours or released, by folder or hub id.

    A released checkpoint gets the released system's reading of media, its own tokenizer and chat
    template, and its vision tower's image settings. No weights are fetched or read.

    Raises:
        CheckpointError: it has no tokenizer, or its tower's image settings are unknown.
    """
    cache = None if cache_dir is None else Path(cache_dir)
    hub = HubOptions(revision, cache, token, local_files_only, weights=False)
    parts = (None if part is None else str(part) for part in (language_model, vision_tower))
    elsewhere = Elsewhere(*parts, hub=hub)
    folder = find_folder(os.fspath(name_or_path), hub)
    config = VideoLlama2Config.from_dict(checkpoint_config(folder, elsewhere))  # pyright: ignore[reportUnknownMemberType]
    if (folder / PROCESSOR_CONFIG).is_file() and layout_of(folder) in _OWN:
        saved = VideoLlama2Processor.from_saved(folder)
        settle_token_ids(saved.tokenizer, config)
        return saved
    speaking = tokenizer_folder(folder, elsewhere)
    if speaking is None:
        raise CheckpointError(
            folder,
            f"holds no tokenizer (none of {', '.join(TOKENIZER_FILES)})",
            "Put the tokenizer's files there, or pass language_model=FOLDER_OR_HUB_ID to take its",
        )
    tokenizer = load_tokenizer(speaking)
    return VideoLlama2Processor.from_config(
        config, tokenizer, image_settings(folder, config, elsewhere)
    )


def load_tokenizer(folder: Path) -> Any:
    """A folder's tokenizer.

    Raises:
        CheckpointError: its files cannot be read.
    """
    tokenizers: Any = AutoTokenizer
    try:
        return tokenizers.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            folder, f"its tokenizer cannot be read ({reason})", "Download its files again"
        ) from error


def image_settings(folder: Path, config: VideoLlama2Config, elsewhere: Elsewhere) -> dict[str, Any]:
    """Image settings of a released checkpoint's vision tower.

    Raises:
        CheckpointError: none lie there, and none are known for this kind of tower.
    """
    for place in _settings_places(folder, config, elsewhere):
        if (place / _IMAGE_SETTINGS).is_file():
            return read_json(place / _IMAGE_SETTINGS)
    vision: Any = config.vision_config
    return tower_preprocessing(vision.to_dict())


def write_processor(
    folder: Path, config: VideoLlama2Config, speaking: Path, vision: FoundPart
) -> None:
    """Write a composed model's processor: its encoder's image settings, its language's tokenizer.

    The chat template is the tokenizer's own, else the one that released models are trained with.

    Raises:
        CheckpointError: the encoder's image settings are unknown, or the tokenizer has more
            tokens than the language model.
    """
    tokenizer = load_tokenizer(speaking)
    words = int(config.text_config.vocab_size)
    if max(tokenizer.get_vocab().values(), default=0) >= words + len(KINDS):
        raise CheckpointError(
            speaking,
            f"its tokenizer has {len(tokenizer)} tokens, the language model {words}",
            "Pass the tokenizer that belongs to the language model",
        )
    template = None
    if not tokenizer.chat_template:
        template = released_template(str(config.text_config.model_type)) or MISTRAL_TEMPLATE
    processor: Any = VideoLlama2Processor.from_config(
        config, tokenizer, _part_settings(config, vision), chat_template=template
    )
    processor.save_pretrained(folder)


def _part_settings(config: VideoLlama2Config, vision: FoundPart) -> dict[str, Any]:
    """The image settings that an encoder was trained with."""
    folder, checkpoint = vision.folder, vision.checkpoint
    if folder is not None and (folder / PROCESSOR_CONFIG).is_file():
        saved = read_json(folder / PROCESSOR_CONFIG)
        if "video_processor" in saved and checkpoint is not None:
            return dict(saved["video_processor"])
    if checkpoint is not None:
        whole: Any = VideoLlama2Config.from_dict(checkpoint.config)  # pyright: ignore[reportUnknownMemberType]
        return image_settings(checkpoint.folder, whole, Elsewhere())
    tower: dict[str, Any] = config.vision_config.to_dict()
    if folder is None or not (folder / _IMAGE_SETTINGS).is_file():
        return tower_preprocessing(tower)
    settings = read_json(folder / _IMAGE_SETTINGS)
    side = picture_side(tower)
    return {"size": {"height": side, "width": side}, **settings}  # SigLIP 2's file has no size


def _settings_places(
    folder: Path, config: VideoLlama2Config, elsewhere: Elsewhere
) -> Iterator[Path]:
    """Where the image settings may lie, the nearest to the tower first."""
    if elsewhere.vision_tower is not None:
        yield find_folder(elsewhere.vision_tower, elsewhere.parts_hub, near=folder)
    released: dict[str, Any] = getattr(config, RELEASED_KEY, None) or {}
    tower = find_tower(str(released.get("mm_vision_tower", "")), folder)
    if tower is not None:
        yield tower
    yield folder
