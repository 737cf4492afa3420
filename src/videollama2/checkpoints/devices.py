"""Which device each parameter goes to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import accelerate
import accelerate.utils as accelerate_utils
import torch
from torch import nn

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.modules import tensors_held

_accelerate: Any = accelerate  # untyped
_utils: Any = accelerate_utils

DeviceMap = str | int | torch.device | Mapping[str, Any] | None


@dataclass(frozen=True)
class Placement:
    """Devices by module name prefix; the empty prefix holds for everything."""

    devices: Mapping[str, torch.device]

    def device_of(self, name: str) -> torch.device:
        """The device of a parameter: that of the longest prefix of its name."""
        while name not in self.devices and name:
            name = name.rpartition(".")[0]
        device = self.devices.get(name)
        if device is None:
            raise CheckpointError("device_map", "does not place every module", "Add '': DEVICE")
        return device

    def finish(self, model: nn.Module) -> None:
        """Move what is not loaded (buffers) and, over several devices, hook the model up."""
        for held in list(tensors_held(model)):
            if held.is_buffer:
                setattr(held.module, held.leaf, held.value.to(self.device_of(held.name)))
        if len(set(self.devices.values())) > 1:
            # accelerate moves activations between the modules' devices from then on.
            _accelerate.dispatch_model(model, device_map=dict(self.devices))


def place(
    model: nn.Module, device_map: DeviceMap, device: str | torch.device | None, dtype: torch.dtype
) -> Placement:
    """Read `device_map` as transformers does: a device, "auto", or devices by module name.

    "auto" is the GPU if there is one, all of them if there are more, else the CPU.

    Raises:
        CheckpointError: the map names what is no device, or both arguments are given.
    """
    if device_map is not None and device is not None:
        raise CheckpointError("device_map", "is given together with device", "Give one of the two")
    wanted = device if device is not None else device_map
    if wanted is None:
        return Placement({"": torch.get_default_device()})
    if isinstance(wanted, Mapping):
        return Placement({name: _device(value) for name, value in wanted.items()})
    if wanted in ("auto", "balanced"):
        return _automatic(model, dtype)
    return Placement({"": _device(wanted)})


def _automatic(model: nn.Module, dtype: torch.dtype) -> Placement:
    if not torch.cuda.is_available():
        return Placement({"": torch.device("cpu")})
    if torch.cuda.device_count() == 1:
        return Placement({"": torch.device("cuda", 0)})
    together = sorted(getattr(model, "_no_split_modules", None) or [])
    memory: Any = _utils.get_balanced_memory(model, dtype=dtype, no_split_module_classes=together)
    inferred: dict[str, Any] = _accelerate.infer_auto_device_map(
        model, max_memory=memory, no_split_module_classes=together, dtype=dtype
    )
    return Placement({name: _device(value) for name, value in inferred.items()})


def _device(value: Any) -> torch.device:
    if value == "disk":
        raise CheckpointError("device_map", "places modules on disk", "Use a GPU or the CPU")
    try:
        return torch.device(value)
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(
            "device_map", f"{value!r} is no device", "Use cpu, cuda, ..."
        ) from error
