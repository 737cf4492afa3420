"""Tensors in files, one at a time: safetensors and torch's zip format, read without mapping.

Both formats keep every tensor as one run of bytes in the file. Its place is read from the header
(or the pickle, with its tensors on the meta device), and its bytes straight into the tensor's own
memory. A mapped file would stay counted beside the copies made of it.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import RawIOBase
from math import prod
from mmap import mmap
from pathlib import Path
from typing import Any, cast

import torch

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.modules import raw_bytes

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "U16": torch.uint16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

_MAX_HEADER = 100_000_000  # bytes; safetensors' own limit
_BUFFER = 1 << 24  # bytes
_DAMAGED = "Download the file again"
_PICKLES = (".bin", ".pt", ".pth")


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor's bytes lie: contiguous, in `path` from `offset` on, or in memory already."""

    path: Path
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    held: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Size of the tensor in bytes."""
        return prod(self.shape) * self.dtype.itemsize

    def read(self) -> torch.Tensor:
        """The tensor, in memory of its own.

        Raises:
            CheckpointError: the file ends before the tensor does.
        """
        value = torch.empty(self.shape, dtype=self.dtype)
        self.read_into(value)
        return value

    def read_into(self, target: torch.Tensor) -> None:
        """Read into a contiguous tensor of this shape, of any dtype, on any device.

        Another dtype or device takes a detour through a buffer of a few megabytes.

        Raises:
            CheckpointError: the file ends before the tensor does.
        """
        flat = target.view(-1)
        if self.held is not None:
            flat.copy_(self.held.reshape(-1))
        elif self.nbytes:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.offset)
                if target.dtype == self.dtype and target.device.type == "cpu":
                    self._read_bytes(file, flat)
                else:
                    self._read_converting(file, flat)

    def chunks(self) -> Iterator[memoryview]:
        """The tensor's bytes as stored, in parts of a few megabytes.

        Raises:
            CheckpointError: the file ends before the tensor does.
        """
        if self.held is not None:
            yield raw_bytes(self.held.contiguous())
            return
        buffer = torch.empty(min(_BUFFER, self.nbytes), dtype=torch.uint8)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            for start in range(0, self.nbytes, _BUFFER):
                part = buffer[: self.nbytes - start]
                self._read_bytes(file, part)
                yield raw_bytes(part)

    def _read_converting(self, file: RawIOBase, flat: torch.Tensor) -> None:
        step = _BUFFER // self.dtype.itemsize
        # Mapped, not from the heap: freed heap of this size would stay with the process in pieces.
        memory = mmap(-1, min(step, flat.numel()) * self.dtype.itemsize)
        buffer = torch.frombuffer(memory, dtype=self.dtype)
        for start in range(0, flat.numel(), step):
            part = buffer[: min(step, flat.numel() - start)]
            self._read_bytes(file, part)
            flat[start : start + step].copy_(part)

    def _read_bytes(self, file: RawIOBase, flat: torch.Tensor) -> None:
        target = raw_bytes(flat)
        done = 0
        while done < len(target):
            count = file.readinto(target[done:])
            if not count:
                raise CheckpointError(self.path, f"ends within tensor {self.name}", _DAMAGED)
            done += count


def open_weights(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of one file by name; nothing is read but the header.

    Raises:
        CheckpointError: the file is missing, damaged, cut short, or holds anything but tensors.
    """
    if not path.is_file():
        raise CheckpointError(path, "is not there", _DAMAGED)
    if path.suffix in _PICKLES:
        return _open_pickle(path)
    return _open_safetensors(path)


def _open_safetensors(path: Path) -> dict[str, StoredTensor]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_MAX_HEADER, size - 8):
            raise CheckpointError(path, "is cut short or no safetensors file", _DAMAGED)
        header = file.read(length)
    try:
        entries: dict[str, Any] = json.loads(header)
        entries.pop("__metadata__", None)
        tensors = {
            name: StoredTensor(
                path,
                name,
                DTYPES[entry["dtype"]],
                tuple(entry["shape"]),
                8 + length + entry["data_offsets"][0],
            )
            for name, entry in entries.items()
        }
        spans = {
            name: (entry["data_offsets"][0], entry["data_offsets"][1])
            for name, entry in entries.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(path, f"has a damaged header ({error!r})", _DAMAGED) from error
    _check_spans(path, tensors, spans, size - 8 - length)
    return tensors


def _check_spans(
    path: Path,
    tensors: Mapping[str, StoredTensor],
    spans: Mapping[str, tuple[int, int]],
    available: int,
) -> None:
    """Tensors lie one after the other, each as long as its shape says, to the file's end."""
    position = 0
    for name, (start, end) in sorted(spans.items(), key=lambda item: item[1]):
        if start != position or end - start != tensors[name].nbytes:
            raise CheckpointError(path, f"has a damaged header at tensor {name}", _DAMAGED)
        position = end
    if position != available:
        raise CheckpointError(
            path,
            f"should hold {position:,} bytes of tensors and holds {available:,}",
            _DAMAGED,
        )


def load_pickle(path: Path, map_location: str) -> Any:
    """torch's own file through its restricted unpickler, which runs no code.

    Raises:
        CheckpointError: the file is damaged, or holds more than tensors and plain values.
    """
    try:
        return torch.load(path, map_location=map_location, weights_only=True)  # pyright: ignore[reportUnknownMemberType]
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror})") from error
    except Exception as error:  # a damaged file makes the unpickler raise anything
        if "weights_only" in str(error).lower() or "Unsupported" in str(error):
            raise CheckpointError(
                path,
                "holds more than tensors and plain values, so it would run code when loaded",
                "Save its tensors alone, best as safetensors",
            ) from error
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(path, f"is damaged or cut short ({first_line})", _DAMAGED) from error


def _open_pickle(path: Path) -> dict[str, StoredTensor]:
    placed = _stored_plainly(path)
    content = load_pickle(path, "meta" if placed else "cpu")
    tensors = _tensors_of(content, path)
    size = path.stat().st_size
    opened: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        start = getattr(tensor.untyped_storage(), "_checkpoint_offset", None) if placed else None
        if placed and (start is None or not tensor.is_contiguous()):
            # A view that is no single run of bytes: let torch gather it.
            return _held(_tensors_of(load_pickle(path, "cpu"), path), path)
        if start is None:
            return _held(tensors, path)
        offset = int(start) + int(tensor.storage_offset()) * tensor.element_size()
        if offset + tensor.numel() * tensor.element_size() > size:
            raise CheckpointError(path, f"ends within tensor {name}", _DAMAGED)
        opened[name] = StoredTensor(path, name, tensor.dtype, tuple(tensor.shape), offset)
    return opened


def _held(tensors: Mapping[str, torch.Tensor], path: Path) -> dict[str, StoredTensor]:
    """Tensors of a file that can only be read as a whole (before torch 1.6)."""
    return {
        name: StoredTensor(path, name, tensor.dtype, tuple(tensor.shape), 0, tensor)
        for name, tensor in tensors.items()
    }


def _stored_plainly(path: Path) -> bool:
    """Whether a file is torch's zip with its data uncompressed and of this machine's byte order."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def _tensors_of(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a loaded file: of a plain state dict, or under its `model` key."""
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):  # pyright: ignore[reportUnknownMemberType]
        content = cast("Mapping[str, Any]", content)["model"]
    if not isinstance(content, Mapping):
        raise CheckpointError(path, "holds no parameters by name", "Save a state dict")
    named = cast("Mapping[Any, Any]", content)
    strange = [str(name) for name, value in named.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise CheckpointError(
            path, f"holds values that are no tensors: {', '.join(strange[:5])}", "Save a state dict"
        )
    return {str(name): value for name, value in named.items()}
