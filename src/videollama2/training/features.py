"""What frozen encoders made of media, on disk: tower outputs before connector and projector.

A folder of `features.json` (which encoders, how they were fed), and pairs of
`features-NNNNNN.safetensors` and `.json` (which media are in it, by what files). A medium is known
by its bytes and by how much of it is taken; a file that has not changed since is not hashed again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
from torch import Tensor, nn

from videollama2.media.errors import MediaError
from videollama2.media.source import SCHEME, Source
from videollama2.processing.parts import (
    AudioInput,
    ImageInput,
    LoadedMedia,
    MediaReport,
    VideoInput,
    kind_of,
)
from videollama2.training.errors import TrainingError
from videollama2.training.records import Medium
from videollama2.training.skipped import replace_text

SETTINGS = "features.json"
PICTURES, SOUND = "pictures", "sound"
_torch_file: Any = safetensors.torch  # it is untyped
_VERSION = 1


class FeatureError(TrainingError):
    """Stored features do not fit the run."""


class NoFeatureError(MediaError):
    """A medium is not among the stored features."""


def settings_of(model: Any, processor: Any, trained: set[str]) -> dict[str, Any]:
    """What stored features depend on, for each encoder that does not train.

    Raises:
        FeatureError: both encoders train, so nothing can be stored.
    """
    loader = processor.loader
    told: dict[str, Any] = {}
    if "vision" not in trained:
        told[PICTURES] = {
            "weights": weights_hash(model.model.vision_tower),
            "select": model.config.vision_feature_select,
            "images": asdict(loader.image_settings),
            "videos": asdict(loader.video_settings),
            "num_frames": loader.num_frames,
            "min_frames": loader.min_frames,
            "media_mode": loader.mode,
        }
    if "audio" not in trained and model.model.audio_tower is not None:
        told[SOUND] = {
            "weights": weights_hash(model.model.audio_tower),
            "media_mode": loader.mode,
            "num_mel_bins": loader.num_mel_bins,
            "patch": loader.patch,
            "max_audio_s": loader.max_audio_s,
        }
    if not told:
        raise FeatureError(
            "the recipe trains the encoders it has: their outputs change with every step, "
            "so there is nothing to store"
        )
    return json.loads(json.dumps(told))


def weights_hash(module: nn.Module) -> str:
    """Of every weight by name, in the width it is kept in."""
    told = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        told.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        flat = value.detach().cpu().contiguous().flatten()
        told.update(flat.view(_bytes_type()).numpy().tobytes())
    return told.hexdigest()


def _bytes_type() -> Any:
    import torch

    return torch.uint8


def check_settings(folder: Path, now: Mapping[str, Any], *, exact: bool) -> Mapping[str, Any]:
    """The settings of a folder of features, compared with those of a run.

    A run may use what it has no encoder's training of, so without `exact` each stored encoder must
    be one that does not train now.

    Raises:
        FeatureError: it is no such folder, or something differs: what.
    """
    try:
        stored: Any = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        kept: dict[str, Any] = stored["encoders"]
        if stored["version"] != _VERSION:
            raise ValueError(f"version {stored['version']}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FeatureError(f"{folder} holds no features: make them with videollama2 data cache "
                           f"({error})") from error  # fmt: skip
    for encoder, before in kept.items():
        if encoder not in now:
            raise FeatureError(
                f"{folder} holds {encoder}, but this recipe trains their encoder (or has none): "
                "take data.features out, or freeze it"
            )
        differing = [key for key in before if before[key] != now[encoder].get(key)]
        if differing:
            raise FeatureError(
                f"{folder} was made with other settings for {encoder}: {', '.join(differing)} "
                "differ; make it again with videollama2 data cache"
            )
    if exact and set(kept) != set(now):
        raise FeatureError(f"{folder} holds {' and '.join(kept)}, not {' and '.join(now)}")
    return kept


def begin(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make a folder for features, or see that one was made with the same settings."""
    if (folder / SETTINGS).exists():
        check_settings(folder, settings, exact=True)
        for partial in folder.glob(".*.partial"):
            partial.unlink()
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FeatureError(f"{folder}: cannot be made: {error.strerror}") from error
    text = json.dumps({"version": _VERSION, "encoders": settings}, indent=1)
    replace_text(folder / SETTINGS, text + "\n")


@dataclass(frozen=True)
class Stored:
    """Where a medium's tensors are, and which there are."""

    file: str
    parts: tuple[str, ...]


class FeatureStore:
    """Stored features, given as loaded media; what was not stored is read from the medium."""

    def __init__(self, folder: Path, processor: Any, settings: Mapping[str, Any]) -> None:
        self.folder, self.processor = folder, processor
        self.kept = frozenset(settings)
        self._media: dict[str, Stored] = {}
        self._files: dict[str, tuple[int, int, str]] = {}
        self._open: dict[str, Any] = {}
        for index in sorted(folder.glob("features-*.json")):
            self._read(index)

    def __len__(self) -> int:
        return len(self._media)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # files are opened anew in other processes

    def _read(self, index: Path) -> None:
        try:
            value: Any = json.loads(index.read_text(encoding="utf-8"))
            media: dict[str, list[str]] = value["media"]
            files: dict[str, list[Any]] = value["files"]
            size = index.with_suffix(".safetensors").stat().st_size
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FeatureError(f"{index}: cannot be read ({error})") from error
        if size != value["bytes"]:
            raise FeatureError(
                f"{index.with_suffix('.safetensors')} has {size} bytes where {value['bytes']} are "
                f"listed: remove it and {index.name}, and make them again"
            )
        name = index.with_suffix(".safetensors").name
        self._media |= {key: Stored(name, tuple(parts)) for key, parts in media.items()}
        self._files |= {path: (row[0], row[1], row[2]) for path, row in files.items()}

    def key(self, medium: Medium) -> tuple[str, list[Any] | None]:
        """(what a medium is known by, its file's size, time and hash)."""
        found = file_of(medium, self._files)
        content = found[2] if found else content_of(medium)
        return key_for(medium, content), found

    def find(self, key: str) -> Stored | None:
        """Where a medium's features are, if they are."""
        return self._media.get(key)

    def load(self, medium: Medium) -> LoadedMedia:
        """A medium with what encoders made of it, and the rest as the processor reads it.

        Raises:
            NoFeatureError: it is not here.
            MediaError: what is not stored cannot be read.
        """
        key, _ = self.key(medium)
        stored = self._media.get(key)
        if stored is None:
            raise NoFeatureError(
                str(getattr(medium.source, "name", medium.source)),
                f"it is not among the features of {self.folder}",
                "Run videollama2 data cache again",
            )
        tensors = {part: self._tensor(stored, key, part) for part in stored.parts}
        pictures, sound = tensors.get(PICTURES), tensors.get(SOUND)
        name = str(getattr(medium.source, "name", medium.source))
        report = MediaReport(
            name, kind_of(medium), None, 0 if pictures is None else len(pictures), 0.0
        )
        loaded = LoadedMedia(kind_of(medium), None, None, report, pictures, sound)
        return self._completed(medium, loaded)

    def _completed(self, medium: Medium, loaded: LoadedMedia) -> LoadedMedia:
        if isinstance(medium, VideoInput):
            if PICTURES not in self.kept:
                read = self.processor.load_media(replace(medium, sound=False))
                return replace(loaded, pixels=read.pixels, report=read.report)
            if SOUND not in self.kept:
                return replace(loaded, features=self.processor.loader.load_soundtrack(medium))
        elif (PICTURES if isinstance(medium, ImageInput) else SOUND) not in self.kept:
            return self.processor.load_media(medium)
        return loaded

    def _tensor(self, stored: Stored, key: str, part: str) -> Tensor:
        if stored.file not in self._open:
            untyped: Any = safetensors
            path = self.folder / stored.file
            self._open[stored.file] = untyped.safe_open(path, framework="pt")
        return cast("Tensor", self._open[stored.file].get_tensor(f"{key}.{part}"))


@dataclass(frozen=True)
class Batch:
    """Features to be written together: tensors by medium and part, and the files they are of."""

    tensors: dict[str, dict[str, Tensor]]
    files: dict[str, list[Any]]

    @property
    def bytes(self) -> int:
        """Size of all tensors."""
        return sum(
            tensor.numel() * tensor.element_size()
            for parts in self.tensors.values()
            for tensor in parts.values()
        )


def write_batch(folder: Path, batch: Batch) -> None:
    """One more pair of files, there whole or not at all; the index comes last."""
    number = len([*folder.glob("features-*.json")])
    path = folder / f"features-{number:06}.safetensors"
    flat = {
        f"{key}.{part}": tensor.detach().cpu().contiguous()
        for key, parts in batch.tensors.items()
        for part, tensor in parts.items()
    }
    partial = folder / f".{path.name}.partial"
    try:
        _torch_file.save_file(flat, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
        media = {key: list(parts) for key, parts in batch.tensors.items()}
        index = {"bytes": path.stat().st_size, "media": media, "files": batch.files}
        replace_text(path.with_suffix(".json"), json.dumps(index))
    except OSError as error:
        raise FeatureError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def key_for(medium: Medium, content: str) -> str:
    """A medium's key: its content and how much of it is taken."""
    fields = asdict(replace(medium, source=""))
    text = json.dumps([kind_of(medium), content, fields], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def content_of(medium: VideoInput | ImageInput | AudioInput) -> str:
    """Hash of a medium's bytes; an address elsewhere stands for what is there.

    Raises:
        MediaError: the file cannot be read.
    """
    source: Any = medium.source
    if isinstance(source, Source):
        return hashlib.sha256(source.data or b"").hexdigest()
    if SCHEME.match(str(source)):
        return hashlib.sha256(str(source).encode()).hexdigest()
    path = Path(source)
    try:
        if path.is_dir():
            told = hashlib.sha256()
            for inner in sorted(path.iterdir()):
                told.update(inner.name.encode() + inner.read_bytes())
            return told.hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        raise MediaError(str(path), reason, "Check the path") from error


def file_of(medium: Medium, known: Mapping[str, tuple[int, int, str]]) -> list[Any] | None:
    """Size, time and hash of a medium's file; None for what is no file.

    The hash is the known one where size and time are.
    """
    source: Any = medium.source
    if isinstance(source, Source) or SCHEME.match(str(source)) or not Path(source).is_file():
        return None
    stat = Path(source).stat()
    size, changed, content = known.get(str(source), (None, None, ""))
    if (size, changed) != (stat.st_size, stat.st_mtime_ns):
        content = content_of(medium)
    return [stat.st_size, stat.st_mtime_ns, content]
