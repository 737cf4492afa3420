"""The weight files of a folder: one file, or many with an index."""

from collections.abc import Iterable
from pathlib import Path

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.towers import read_json
from videollama2.checkpoints.weights import StoredTensor, open_weights

# In the order in which they are preferred.
_SINGLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a whole model's weights in a folder, in order; none if there is none.

    Raises:
        CheckpointError: an index names a shard that is not there.
    """
    for single, index in zip(_SINGLE, _INDEX, strict=True):
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            return _indexed(folder / index)
    return []


def _indexed(index: Path) -> list[Path]:
    names = _weight_map(index)
    shards = [index.parent / shard for shard in dict.fromkeys(names.values())]
    absent = [shard.name for shard in shards if not shard.is_file()]
    if absent:
        raise CheckpointError(
            index, f"names shards that are not there: {', '.join(absent)}", "Download them again"
        )
    return shards


def _weight_map(index: Path) -> dict[str, str]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(index, "maps no parameter to a file", "Download the file again")
    pairs: dict[str, str] = {str(k): str(v) for k, v in names.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if any(Path(shard).name != shard for shard in pairs.values()):
        raise CheckpointError(index, "names files outside its folder", "Download the file again")
    return pairs


def open_files(files: Iterable[Path]) -> dict[str, StoredTensor]:
    """Every tensor of several files by name.

    Raises:
        CheckpointError: a file is damaged, or two files hold the same name.
    """
    opened: dict[str, StoredTensor] = {}
    for path in files:
        for name, tensor in open_weights(path).items():
            if name in opened:
                raise CheckpointError(
                    path, f"holds {name}, and so does {opened[name].path.name}", "Remove one"
                )
            opened[name] = tensor
    return opened


def open_folder(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a folder's weight files by name.

    Raises:
        CheckpointError: a shard is missing or damaged, or lacks what the index promises of it.
    """
    files = weight_files(folder)
    opened = open_files(files)
    for single, index in zip(_SINGLE, _INDEX, strict=True):
        if not (folder / single).is_file() and (folder / index).is_file():
            absent = [name for name in _weight_map(folder / index) if name not in opened]
            if absent:
                raise CheckpointError(
                    folder / index,
                    f"promises {len(absent)} parameters that no shard holds: {_few(absent)}",
                    "Download the shards again",
                )
            break
    return opened


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
