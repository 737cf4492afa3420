"""Converting checkpoints: any layout -> ours or the released one, bit for bit, as safetensors."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.fit import Fit
from videollama2.checkpoints.gather import UNUSED_FILE, Elsewhere, Gathered, gather
from videollama2.checkpoints.layouts import RELEASED_KEY, downgrade_config, is_known_tower
from videollama2.checkpoints.load import empty_model, fit_model, model_config
from videollama2.checkpoints.names import canonical, to_released
from videollama2.checkpoints.processor import PROCESSOR_CONFIG, load_processor
from videollama2.checkpoints.small_layouts import write_small
from videollama2.checkpoints.token_ids import has_tokenizer
from videollama2.checkpoints.towers import find_tower, last_name
from videollama2.checkpoints.weights import StoredTensor, open_weights
from videollama2.checkpoints.writing import (
    NamedTensor,
    check_new_folder,
    parse_size,
    write_file,
    write_json,
    write_sharded,
    written_whole,
)

Target = Literal["native", "released"]
Layout = Literal["full", "base", "lora", "audio"]

# Small files that travel along unchanged: tokenizer, generation defaults, licence, card.
_COMPANIONS = (".json", ".model", ".txt", ".jinja", ".md")
_NOT_COMPANIONS = ("config.json", "adapter_config.json")


def convert(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    to: Target = "native",
    max_shard_size: int | str = "5GB",
    *,
    layout: Layout = "full",
    elsewhere: Elsewhere | None = None,
) -> Path:
    """Write a checkpoint of any layout as ours ("native") or as a released one.

    Of the released ones "full" holds the whole model; `small_layouts` says what "base", "lora" and
    "audio" hold. These name where the rest lies: `elsewhere` says it where the checkpoint cannot.

    Tensors keep their bits and dtypes, so that converting there and back gives the same
    checkpoint; adapters are merged. What no parameter of ours takes but belongs to the released
    checkpoint (the vision tower's last layer, ...) is kept in `unused.safetensors`. `dst` appears
    when all of it is written, or not at all. Returns `dst`.

    Raises:
        CheckpointError: `dst` is not empty; or the checkpoint is incomplete or damaged; or the
            released layout has no place for this model.
    """
    if to not in ("native", "released"):
        raise CheckpointError(to, "is no layout", "Choose native or released")
    if layout != "full" and to != "released":
        raise CheckpointError(layout, "is a released layout", "Say --to released")
    shard_bytes = parse_size(max_shard_size)
    target = Path(dst)
    check_new_folder(target)
    named_alone = layout == "lora"  # an adapter is read upon what it was trained on
    gathered = gather(os.fspath(src), None if named_alone else elsewhere)
    fitted = fit_model(empty_model(model_config(gathered)), gathered)
    with written_whole(target) as folder:
        _copy_companions(gathered.folder, folder)
        if to == "native":
            _write_native(folder, gathered, fitted, shard_bytes)
            _write_processor(folder)
            return target
        (folder / PROCESSOR_CONFIG).unlink(missing_ok=True)
        if layout == "full":
            _write_released(folder, gathered, shard_bytes)
        else:
            flat = write_small(folder, gathered, layout, elsewhere or Elsewhere())
            _write_encoder_configs(folder, gathered, flat)
    return target


def _copy_companions(source: Path, folder: Path) -> None:
    for path in sorted(source.iterdir()):
        wanted = path.suffix in _COMPANIONS or path.name.upper().startswith(("LICENSE", "NOTICE"))
        if not path.is_file() or not wanted or path.name in _NOT_COMPANIONS:
            continue
        if not path.name.endswith(".index.json"):
            shutil.copyfile(path, folder / path.name)


def _write_native(folder: Path, gathered: Gathered, fitted: Fit, shard_bytes: int) -> None:
    config = dict(gathered.config)
    write_json(folder / "config.json", config)
    unused = fitted.unused | _kept_unused(gathered)
    used = {name: part for name, part in gathered.tensors.items() if name not in unused}
    write_sharded(folder, named_tensors(used, gathered, released=False), shard_bytes)
    if unused:
        write_file(folder / UNUSED_FILE, named_tensors(unused, gathered, released=False))
    _copy_tower_settings(gathered, folder)


def _write_processor(folder: Path) -> None:
    """The processor's own settings, so that transformers loads it; the tokenizer's files stay."""
    if (folder / PROCESSOR_CONFIG).exists() or not has_tokenizer(folder):
        return
    scratch = folder / ".processor"
    load_processor(folder).save_pretrained(scratch)  # pyright: ignore[reportUnknownMemberType]
    for name in (PROCESSOR_CONFIG, "chat_template.jinja"):
        if (scratch / name).is_file() and not (folder / name).exists():
            (scratch / name).rename(folder / name)
    shutil.rmtree(scratch)


def _write_released(folder: Path, gathered: Gathered, shard_bytes: int) -> None:
    flat = downgrade_config(gathered.config)
    if gathered.layout in ("base", "adapter") and flat.get("tune_mm_mlp_adapter"):
        flat["tune_mm_mlp_adapter"] = False  # it would send the released loader to the parts' files
    write_json(folder / "config.json", flat)
    tensors = gathered.tensors | _kept_unused(gathered)
    write_sharded(folder, named_tensors(tensors, gathered, released=True), shard_bytes)
    _write_encoder_configs(folder, gathered, flat)


def _kept_unused(gathered: Gathered) -> dict[str, StoredTensor]:
    path = gathered.folder / UNUSED_FILE
    if gathered.released or not path.is_file():
        return {}
    return {canonical(name): part for name, part in open_weights(path).items()}


def named_tensors(
    tensors: Mapping[str, StoredTensor],
    gathered: Gathered,
    *,
    released: bool,
    cast: torch.dtype | None = None,
) -> Iterator[NamedTensor]:
    """Tensors under the names that the new files give them, experts one by one."""
    mixtral = gathered.config["text_config"]["model_type"] == "mixtral"
    for name, whole in tensors.items():
        for part_name, part in _experts(name, whole) if mixtral else ((name, whole),):
            spelled = part_name
            if mixtral and part_name.startswith("model.language_model."):
                spelled = part_name.replace(".mlp.", ".block_sparse_moe.", 1)
            new_name = to_released(spelled) if released else spelled
            yield NamedTensor(new_name, part, gathered.changes.get(name), cast)


def _experts(name: str, whole: StoredTensor) -> Iterator[tuple[str, StoredTensor]]:
    """Stacked experts one by one (each is one run of bytes); any other tensor as it is."""
    stem, _, stacked = name.rpartition(".")
    matrices = {"gate_up_proj": ("w1", "w3"), "down_proj": ("w2",)}.get(stacked, ())
    if not stem.endswith(".mlp.experts") or not matrices:
        yield name, whole
        return
    experts, rows, columns = whole.shape
    shape = (rows // len(matrices), columns)
    size = shape[0] * columns * whole.dtype.itemsize
    for index in range(experts):
        for half, matrix in enumerate(matrices):
            offset = whole.offset + (index * len(matrices) + half) * size
            rows_of = slice(half * shape[0], (half + 1) * shape[0])
            held = None if whole.held is None else whole.held[index][rows_of]
            part = replace(whole, shape=shape, offset=offset, held=held)
            yield f"{stem}.{index}.{matrix}.weight", part


def _copy_tower_settings(gathered: Gathered, folder: Path) -> None:
    """Image settings that lie in the tower's folder go into the checkpoint's."""
    if not gathered.released or (folder / "preprocessor_config.json").exists():
        return
    name = str(gathered.config.get(RELEASED_KEY, {}).get("mm_vision_tower", ""))
    tower = find_tower(name, gathered.folder) if name else None
    if tower is not None and (tower / "preprocessor_config.json").is_file():
        shutil.copyfile(tower / "preprocessor_config.json", folder / "preprocessor_config.json")


def _write_encoder_configs(folder: Path, gathered: Gathered, flat: dict[str, Any]) -> None:
    """What the flat config names and does not say: an unknown tower's config, an unusual BEATs'."""
    name = last_name(str(flat["mm_vision_tower"]))
    if not is_known_tower(name):
        (folder / name).mkdir()
        write_json(folder / name / "config.json", gathered.config["vision_config"])
        settings = folder / "preprocessor_config.json"
        if settings.is_file() and not gathered.released:
            settings.rename(folder / name / settings.name)
        else:
            _copy_from_tower(gathered, name, folder / name)
    audio = gathered.config.get("audio_config")
    if audio:
        write_json((folder / last_name(str(flat["mm_audio_tower"]))).with_suffix(".json"), audio)


def _copy_from_tower(gathered: Gathered, name: str, folder: Path) -> None:
    tower = find_tower(name, gathered.folder)
    if tower is not None and (tower / "preprocessor_config.json").is_file():
        shutil.copyfile(tower / "preprocessor_config.json", folder / "preprocessor_config.json")
