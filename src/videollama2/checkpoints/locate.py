"""Where a checkpoint lies, on this machine or on the hub, and which layout its files make."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.layouts import RELEASED_MODEL_TYPES, is_released
from videollama2.checkpoints.lora import ADAPTER_FILES, adapter_file
from videollama2.checkpoints.shards import weight_files
from videollama2.checkpoints.towers import beside, read_json

Layout = Literal["native", "full", "base", "adapter", "language_model"]

# Parts that training stages leave as files of their own.
COMPONENTS = ("mm_projector.bin", "mm_projector_a.bin", "audio_tower.bin")
NON_LORA = "non_lora_trainables.bin"

_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
_SMALL_FILES = ("*.json", "*.model", "*.txt", "*.jinja")


@dataclass(frozen=True)
class HubOptions:
    """How the hub is asked: the arguments that transformers' `from_pretrained` takes too."""

    revision: str | None = None
    cache_dir: str | Path | None = None
    token: str | bool | None = None
    local_files_only: bool = False
    weights: bool = True  # False fetches the small files alone


def find_folder(
    name: str | Path, hub: HubOptions | None = None, *, near: Path | None = None
) -> Path:
    """The folder that a path or hub id means; what is only on the hub is fetched.

    `near` is a folder inside or beside which a relative name may lie.

    Raises:
        CheckpointError: there is no such folder, and the hub does not give it either.
    """
    path = Path(name)
    if path.is_dir():
        return path
    for candidate in beside(str(name), near) if near is not None else ():
        if candidate.is_dir():
            return candidate
    if path.exists() or not _HUB_ID.match(str(name)):
        raise CheckpointError(name, "is no folder and no hub id", "Pass a folder or ORG/NAME")
    return _fetch(str(name), hub or HubOptions())


def _fetch(repository: str, hub: HubOptions) -> Path:
    """A hub repository's files, in the cache: safetensors where the model is there, else `.bin`."""
    if not hub.weights:
        return _download(repository, hub, _SMALL_FILES)
    folder = _download(repository, hub, (*_SMALL_FILES, "*.safetensors"))
    if not weight_files(folder):  # an adapter keeps a part of its weights as .bin always
        folder = _download(repository, hub, (*_SMALL_FILES, "*.bin"))
    return folder


def _download(repository: str, hub: HubOptions, patterns: tuple[str, ...]) -> Path:
    try:
        import huggingface_hub

        hub_client: Any = huggingface_hub
        return Path(
            hub_client.snapshot_download(
                repository,
                revision=hub.revision,
                cache_dir=hub.cache_dir,
                token=hub.token,
                local_files_only=hub.local_files_only,
                allow_patterns=list(patterns),
            )
        )
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            repository,
            f"is no folder here, and the hub does not give it ({reason})",
            "Pass a local folder, or check the name and the connection",
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """A checkpoint's `config.json`.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    return read_json(folder / "config.json")


def layout_of(folder: Path) -> Layout:
    """Which layout a folder's files make: told by the files, never by the folder's name.

    Raises:
        CheckpointError: the files make none.
    """
    if adapter_file(folder) is not None:
        return "adapter"
    config = read_config(folder)
    if "text_config" in config and config.get("model_type") in RELEASED_MODEL_TYPES:
        return "native"
    if not is_released(config):
        return "language_model"
    if weight_files(folder):
        return "full"
    if next(component_files(folder), None) is not None:
        return "base"
    raise CheckpointError(
        folder,
        "holds no weights",
        "Expected model.safetensors or pytorch_model.bin (with shards, their index), "
        f"{', '.join(COMPONENTS)}, or {ADAPTER_FILES[0]}",
    )


def find_layout(name: str, hub: HubOptions) -> Layout | None:
    """The layout that a folder or hub id holds; None where nothing says.

    Of a hub repository only the config is fetched. One with a released config counts as "full",
    whichever of the released layouts its weights make.
    """
    folder = Path(name)
    if not folder.is_dir():
        if folder.exists() or not _HUB_ID.match(name):
            return None
        return _hub_layout(name, hub)
    if adapter_file(folder) is None and not (folder / "config.json").is_file():
        return None
    return layout_of(folder)


def _hub_layout(repository: str, hub: HubOptions) -> Layout | None:
    try:
        folder = _download(repository, hub, ("config.json", "adapter_config.json"))
    except CheckpointError:
        return None  # transformers asks again and says what is wrong in its own words
    if (folder / "adapter_config.json").is_file():
        return "adapter"
    if not (folder / "config.json").is_file():
        return None
    config = read_config(folder)
    return "full" if is_released(config) else "native" if "text_config" in config else None


def find_architecture(name: str, hub: HubOptions) -> str | None:
    """The class that a folder's or hub id's config says was saved; None where it says none."""
    folder = Path(name)
    if not folder.is_dir():
        if folder.exists() or not _HUB_ID.match(name):
            return None
        try:
            folder = _download(name, hub, ("config.json",))
        except CheckpointError:
            return None  # transformers asks again and says what is wrong in its own words
    if not (folder / "config.json").is_file():
        return None
    match read_config(folder).get("architectures"):
        case [str(architecture), *_]:
            return architecture
        case _:
            return None


def component_files(folder: Path) -> Iterator[Path]:
    """The parts' files that a folder holds."""
    return (folder / name for name in COMPONENTS if (folder / name).is_file())
