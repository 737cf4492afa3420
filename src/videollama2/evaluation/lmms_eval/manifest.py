"""What lmms-eval asks of us when it starts: the name of our model's class, nothing loaded."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """Our entry point's payload, a `ModelManifest`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="videollama2",
        chat_class_path="videollama2.evaluation.lmms_eval.model.VideoLlama2Chat",
    )
