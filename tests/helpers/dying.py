"""A model whose process dies: over its first video, and over every picture."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.assistant import VideoLlama2
from videollama2.scale.work import ModelSettings


@dataclass(frozen=True)
class DyingModel(ModelSettings):
    """`once` is a file: the process that does not find it makes it, and dies over a video."""

    once: Path = Path()

    def load(self) -> VideoLlama2:
        loaded = super().load()
        videos = loaded.model.get_video_features

        def of_videos(*values: Any, **options: Any) -> Any:
            if not self.once.exists():
                self.once.write_text("died")
                die()
            return videos(*values, **options)

        loaded.model.get_video_features = of_videos
        loaded.model.get_image_features = die
        return loaded


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
