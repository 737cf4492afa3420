"""Writing safetensors one tensor at a time: bytes go from file to file, never all in memory."""

import json
import re
import secrets
import shutil
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.lora import LowRank
from videollama2.checkpoints.modules import raw_bytes
from videollama2.checkpoints.weights import DTYPE_NAMES, StoredTensor

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class NamedTensor:
    """A tensor to write: its name in the new file, where it lies, and what is merged into it.

    `cast` is the dtype that a float tensor gets; None leaves it its own.
    """

    name: str
    stored: StoredTensor
    change: LowRank | None = None
    cast: torch.dtype | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in the new file."""
        stored = self.stored.dtype
        return self.cast if self.cast is not None and stored.is_floating_point else stored

    @property
    def nbytes(self) -> int:
        """Size in the new file, in bytes."""
        return prod(self.stored.shape) * self.dtype.itemsize

    def read(self) -> torch.Tensor:
        """The tensor as it is to be, in memory of its own."""
        value = self.stored.read()
        if self.change is not None:
            value = self.change.added_to(value)
        return value.to(self.dtype).contiguous()

    def chunks(self) -> Iterator[memoryview]:
        """The tensor's bytes, in parts of a few megabytes where they stay as they are."""
        if self.change is None and self.dtype == self.stored.dtype:
            yield from self.stored.chunks()
        else:
            yield raw_bytes(self.read())


def check_new_folder(target: Path) -> None:
    """A folder to write must not be there yet, or be empty.

    Raises:
        CheckpointError: it is neither.
    """
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists():
        raise CheckpointError(target, "is not empty", "Choose a new folder")


@contextmanager
def written_whole(target: Path) -> Generator[Path]:
    """A folder to write into that becomes `target` at the end, and vanishes if anything fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / f".{target.name}.{secrets.token_hex(4)}.partial"
    folder.mkdir()
    try:
        yield folder
        folder.replace(target)
    except BaseException:  # Ctrl-C too
        shutil.rmtree(folder, ignore_errors=True)
        raise


def parse_size(size: int | str) -> int:
    """Bytes of a size such as 5GB or 500MiB.

    Raises:
        CheckpointError: it is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?B)?\s*", str(size).upper())
    value = float(found[1]) * _UNITS[found[2] or ""] if found else 0
    if value < 1:
        raise CheckpointError("max_shard_size", f"{size!r} is no size", "Say, for example, 5GB")
    return int(value)


def write_sharded(folder: Path, tensors: Iterable[NamedTensor], max_shard_size: int) -> None:
    """Write `model.safetensors`, or shards of at most so many bytes and their index.

    A tensor larger than a shard gets a shard of its own.
    """
    shards = _split(tensors, max_shard_size)
    if len(shards) == 1:
        write_file(folder / "model.safetensors", shards[0])
        return
    weight_map: dict[str, str] = {}
    for index, shard in enumerate(shards, 1):
        file = f"model-{index:05d}-of-{len(shards):05d}.safetensors"
        write_file(folder / file, shard)
        weight_map |= {tensor.name: file for tensor in shard}
    total = sum(tensor.nbytes for shard in shards for tensor in shard)
    index_file = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index_file)


def _split(tensors: Iterable[NamedTensor], max_bytes: int) -> list[list[NamedTensor]]:
    shards: list[list[NamedTensor]] = [[]]
    size = 0
    for tensor in tensors:
        if shards[-1] and size + tensor.nbytes > max_bytes:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor.nbytes
    return shards


def write_file(path: Path, tensors: Iterable[NamedTensor]) -> None:
    """Write one safetensors file, larger element types first so that all stay aligned."""
    ordered = sorted(tensors, key=lambda tensor: (-tensor.dtype.itemsize, tensor.name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for tensor in ordered:
        end = position + tensor.nbytes
        header[tensor.name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.stored.shape),
            "data_offsets": [position, end],
        }
        position = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for tensor in ordered:
            for chunk in tensor.chunks():
                file.write(chunk)


def write_json(path: Path, value: object) -> None:
    """Write JSON as transformers does: two spaces, keys in the order given."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
