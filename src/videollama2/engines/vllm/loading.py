"""Weights of any layout into vLLM's model, and the settings that our architectures begin with."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from vllm.model_executor.model_loader.base_loader import BaseModelLoader
from vllm.model_executor.models.config import VerifyAndUpdateConfig

from videollama2.checkpoints.gather import Elsewhere, Gathered, gather
from videollama2.checkpoints.locate import HubOptions, find_folder
from videollama2.engines.vllm.names import MODE

_Defaults: Any = VerifyAndUpdateConfig
_Loader: Any = BaseModelLoader


class Defaults(_Defaults):
    """What an engine of ours is set to where its user leaves it open."""

    @staticmethod
    def verify_and_update_model_config(model_config: Any) -> None:
        """Take our tokenizer and renderer."""
        if model_config.tokenizer_mode == "auto":
            model_config.tokenizer_mode = MODE

    @staticmethod
    def verify_and_update_config(vllm_config: Any) -> None:
        """Take our loader of weights."""
        if vllm_config.load_config.load_format == "auto":
            vllm_config.load_config.load_format = MODE


class CheckpointLoader(_Loader):
    """Reads every layout that `videollama2` reads: ours, released, connector-only, adapters."""

    def download_model(self, model_config: Any) -> None:
        """Fetch a hub checkpoint.

        Raises:
            CheckpointError: there is no such checkpoint.
        """
        find_folder(model_config.model, self._hub(model_config))

    def load_weights(self, model: Any, model_config: Any) -> None:
        """Read a checkpoint, a tensor at a time.

        Raises:
            CheckpointError: a file or part is missing or damaged, or a parameter does not fit.
        """
        gathered = gather(model_config.model, Elsewhere(hub=self._hub(model_config)))
        model.load_weights(tensors_of(gathered))

    def _hub(self, model_config: Any) -> HubOptions:
        cache = self.load_config.download_dir
        return HubOptions(model_config.revision, None if cache is None else Path(cache))


def tensors_of(gathered: Gathered) -> Iterator[tuple[str, Tensor]]:
    """(our name, tensor) of everything a checkpoint holds, adapters added in, in the files' order.

    Raises:
        CheckpointError: a file ends within a tensor.
    """
    stored = sorted(gathered.tensors.items(), key=lambda item: (item[1].path, item[1].offset))
    for name, tensor in stored:
        value, change = tensor.read(), gathered.changes.get(name)
        yield name, value if change is None else change.added_to(value)
