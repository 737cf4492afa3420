"""What a process of a bulk run is to do, and the model opened for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from videollama2.assistant import VideoLlama2, resolve
from videollama2.processing.loader import MediaLoader
from videollama2.scale.captioner import AnyCaptioner, Asking, Captioner
from videollama2.scale.intake import ReadSettings


@dataclass(frozen=True)
class ModelSettings:
    """Which model, and where it computes."""

    name: str = "starter"
    device: str | None = None
    dtype: str | None = None

    def load(self) -> VideoLlama2:
        """The model.

        Raises:
            CheckpointError: there is no such checkpoint, or it cannot be read.
            ValueError: the device is not there.
        """
        return VideoLlama2.from_pretrained(self.name, device=self.device, dtype=self.dtype)


@dataclass(frozen=True)
class Work:
    """All that a process needs to know to caption clips."""

    model: ModelSettings
    asking: Asking
    reading: ReadSettings
    engine: Literal["own", "vllm"] = "own"

    def open(self) -> tuple[MediaLoader, AnyCaptioner]:
        """What reads clips, and what answers them.

        Raises:
            CheckpointError: there is no such checkpoint, or it cannot be read.
            ValueError: the device is not there.
            MissingVllmError: vLLM is to answer, and is not installed.
        """
        if self.engine == "vllm":
            from videollama2.engines.vllm.online import OnlineEngine
            from videollama2.engines.vllm.settings import EngineOptions
            from videollama2.scale.vllm_captioner import VllmCaptioner

            name, options = resolve(self.model.name), EngineOptions(dtype=self.model.dtype)
            captioner = VllmCaptioner(lambda: OnlineEngine(name, options), self.asking)
            return captioner.loader, captioner
        assistant = self.model.load()
        return assistant.processor.loader, Captioner(assistant, self.asking)
