"""Videos that come to vLLM's server: kept as they came, so that our own reader chooses frames."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
from __future__ import annotations

from typing import Any

from vllm.multimodal.video import VideoLoader

from videollama2.engines.vllm.names import LEFT_OPEN

_Loader: Any = VideoLoader


class UndecodedVideo(_Loader):
    """Decodes nothing: the processor, which knows the model, samples and hears the bytes."""

    @classmethod
    def load_bytes(
        cls, data: bytes, num_frames: int = -1, **options: Any
    ) -> tuple[bytes, dict[str, Any]]:
        """The bytes, and how many frames were asked for, if anybody did.

        Raises:
            ValueError: an option that would be ignored.
        """
        if options:
            raise ValueError(
                f"media_io_kwargs for videos: {', '.join(sorted(options))} have no effect on this "
                "model; num_frames has"
            )
        chosen = num_frames if num_frames > 0 and num_frames != LEFT_OPEN else None
        return data, {"num_frames": chosen}
