"""LoRA and DoRA adapters, merged into the weights they were trained on while those are read.

W' = W + s·B·A, s = alpha / r (alpha / sqrt(r) with rank-stabilised scaling), computed in float32
and rounded once (Hu et al., 2021, section 4; Kalajdzievski, 2023). DoRA gives each row of W' the
length that was learned for it (Liu et al., 2024, equation 5, rows being outputs as peft has them).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import torch

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.names import canonical, strip_training_prefix, to_native
from videollama2.checkpoints.towers import read_json
from videollama2.checkpoints.weights import StoredTensor, open_weights

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
ADAPTER_CONFIG = "adapter_config.json"

_LORA = re.compile(r"^(?P<module>.*)\.lora_(?P<side>A|B)(?:\.[^.]+)?\.weight$")
_DORA = re.compile(r"^(?P<module>.*)\.lora_magnitude_vector(?:\.[^.]+)?(?:\.weight)?$")
_LENGTHS = "lengths"


@dataclass(frozen=True)
class LowRank:
    """One weight's change: `scale` · `up` (out, r) · `down` (r, in), transposed if `transposed`.

    `lengths` (out) are those of the rows of the changed weight, where DoRA learned them.
    """

    down: StoredTensor
    up: StoredTensor
    scale: float
    transposed: bool = False
    lengths: StoredTensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight that it changes."""
        shape = (self.up.shape[0], self.down.shape[1])
        return shape[::-1] if self.transposed else shape

    def added_to(self, weight: torch.Tensor) -> torch.Tensor:
        """`weight` (out, in) with the change, in float32."""
        change = self.up.read().float() @ self.down.read().float() * self.scale
        changed = weight.float() + (change.T if self.transposed else change)
        if self.lengths is None:
            return changed
        across = 0 if self.transposed else 1
        shape = (1, -1) if self.transposed else (-1, 1)
        lengths = self.lengths.read().float().view(shape)
        own = changed.square().sum(across, keepdim=True).sqrt()
        return changed * (lengths / own)


@dataclass(frozen=True)
class Adapter:
    """What an adapter's folder holds: changes by weight, weights trained whole, and its base."""

    changes: Mapping[str, LowRank]
    whole: Mapping[str, StoredTensor]
    base: str | None


def adapter_file(folder: Path) -> Path | None:
    """The adapter's weights in a folder, if it is an adapter's."""
    return next((folder / name for name in ADAPTER_FILES if (folder / name).is_file()), None)


def open_adapter(folder: Path) -> Adapter:
    """A LoRA, QLoRA or DoRA result's changes, under our names.

    Raises:
        CheckpointError: it is another kind of adapter, or damaged.
    """
    path = adapter_file(folder)
    if path is None:
        raise CheckpointError(folder, "holds no adapter weights", f"Put {ADAPTER_FILES[0]} there")
    config = read_json(folder / ADAPTER_CONFIG)
    _check_kind(config, folder / ADAPTER_CONFIG)
    sides: dict[str, dict[str, StoredTensor]] = {}
    modules: dict[str, str] = {}
    whole: dict[str, StoredTensor] = {}
    for name, tensor in open_weights(path).items():
        found = _LORA.match(name) or _DORA.match(name)
        if found is not None:
            weight = native_name(found["module"] + ".weight")
            side = found.groupdict().get("side", _LENGTHS)
            sides.setdefault(weight, {})[side] = tensor
            modules[weight] = strip_training_prefix(found["module"])
        elif ".lora_" in name:
            raise CheckpointError(
                path, f"holds {name}, which is no plain LoRA matrix", "Merge it with peft first"
            )
        else:
            whole[native_name(re.sub(r"\.modules_to_save(\.default)?\.", ".", name))] = tensor
    changes = {
        weight: _low_rank(modules[weight], pair, config, path) for weight, pair in sides.items()
    }
    base = config.get("base_model_name_or_path")
    return Adapter(changes, whole, base if isinstance(base, str) and base else None)


def native_name(name: str) -> str:
    """Our name of a parameter that a training wrapper named."""
    return canonical(to_native(strip_training_prefix(name)))


def _check_kind(config: Mapping[str, Any], path: Path) -> None:
    kind = str(config.get("peft_type", "LORA")).upper()
    if kind != "LORA":
        raise CheckpointError(path, f"is a {kind} adapter, not LoRA", "Merge it with peft first")


def _low_rank(
    module: str, pair: Mapping[str, StoredTensor], config: Mapping[str, Any], path: Path
) -> LowRank:
    if "A" not in pair or "B" not in pair:
        raise CheckpointError(path, f"holds only one of two LoRA matrices of {module}", "")
    down, up = pair["A"], pair["B"]
    rank = down.shape[0]
    if len(down.shape) != 2 or len(up.shape) != 2 or up.shape[1] != rank:
        raise CheckpointError(
            path, f"LoRA matrices of {module} do not fit: {up.shape} and {down.shape}", ""
        )
    alpha = _of_module(config.get("alpha_pattern"), module, config.get("lora_alpha", rank))
    scale = float(alpha) / (sqrt(rank) if config.get("use_rslora") else rank)
    lengths = pair.get(_LENGTHS)
    if (lengths is not None) != bool(config.get("use_dora")):
        raise CheckpointError(
            path,
            f"{'lacks' if lengths is None else 'holds'} DoRA's row lengths of {module}, "
            f"and {ADAPTER_CONFIG} says otherwise",
            "Get both files anew from one training",
        )
    if lengths is not None and lengths.shape != (up.shape[0],):
        raise CheckpointError(
            path, f"DoRA's row lengths of {module} do not fit: {lengths.shape} for {up.shape}", ""
        )
    return LowRank(down, up, scale, bool(config.get("fan_in_fan_out")), lengths)


def _of_module(pattern: Any, module: str, default: Any) -> Any:
    """A setting of one module, by peft's patterns on the end of its name."""
    for key, value in dict(pattern or {}).items():
        if re.search(rf"(^|\.){key}$", module):
            return value
    return default
