"""VideoLLaMA 2: watch a clip, hear it, answer questions about it.

```python
from videollama2 import VideoLlama2

model = VideoLlama2.from_pretrained("starter")
print(model.ask("What is heard, and who makes it?", video="clip.mp4"))
```

Importing this package alone imports neither torch nor transformers: each name is fetched when it
is first used, and the first of the model's names also registers them with transformers' Auto
classes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videollama2.answers import Answer as Answer
    from videollama2.answers import Request as Request
    from videollama2.assistant import VideoLlama2 as VideoLlama2
    from videollama2.checkpoints.errors import CheckpointError as CheckpointError
    from videollama2.compat import mm_infer as mm_infer
    from videollama2.compat import model_init as model_init
    from videollama2.conversation import Conversation as Conversation
    from videollama2.generation.settings import SamplingSettings as SamplingSettings
    from videollama2.media.errors import MediaError as MediaError
    from videollama2.model.config import VideoLlama2Config as VideoLlama2Config
    from videollama2.model.model import (
        VideoLlama2ForConditionalGeneration as VideoLlama2ForConditionalGeneration,
    )
    from videollama2.model.trunk import VideoLlama2Model as VideoLlama2Model
    from videollama2.processing.processor import VideoLlama2Processor as VideoLlama2Processor

__version__ = "0.1.0"

# name -> where it lives
_LIGHT = {
    "Answer": "answers",
    "Request": "answers",
    "CheckpointError": "checkpoints.errors",
    "MediaError": "media.errors",
    "SamplingSettings": "generation.settings",
}
_WITH_MODEL = {
    "Conversation": "conversation",
    "VideoLlama2": "assistant",
    "VideoLlama2Config": "model.config",
    "VideoLlama2ForConditionalGeneration": "model.model",
    "VideoLlama2Model": "model.trunk",
    "VideoLlama2Processor": "processing.processor",
    "mm_infer": "compat",
    "model_init": "compat",
}

__all__ = [
    "Answer",
    "CheckpointError",
    "Conversation",
    "MediaError",
    "Request",
    "SamplingSettings",
    "VideoLlama2",
    "VideoLlama2Config",
    "VideoLlama2ForConditionalGeneration",
    "VideoLlama2Model",
    "VideoLlama2Processor",
    "__version__",
    "mm_infer",
    "model_init",
]


def __getattr__(name: str) -> Any:
    """Fetch a public name on its first use (PEP 562)."""
    room = _LIGHT.get(name) or _WITH_MODEL.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _WITH_MODEL:
        import_module(f"{__name__}.auto").register()
    value = getattr(import_module(f"{__name__}.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name everything, fetched or not."""
    return sorted({*globals(), *__all__})
