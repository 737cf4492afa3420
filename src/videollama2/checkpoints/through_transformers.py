"""A plain model's weights as transformers reads them: every spelling and stacking that it knows.

The part is in memory whole. Our own reading, tensor by tensor, is tried first.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.gather import Tensors
from videollama2.checkpoints.names import canonical
from videollama2.checkpoints.weights import StoredTensor


def read_language_model(folder: Path, dtype: torch.dtype) -> Tensors:
    """A causal language model's tensors, under the names that they have in a whole model.

    Raises:
        CheckpointError: transformers cannot read it, or finds weights missing.
    """
    model = _read(AutoModelForCausalLM, folder, dtype)
    trunk, head = model.base_model, model.get_output_embeddings()
    return _named("model.language_model.", trunk, folder) | _named("lm_head.", head, folder)


def read_vision(folder: Path, dtype: torch.dtype) -> Tensors:
    """A vision encoder's tensors, likewise; of a whole CLIP or SigLIP its vision half.

    Raises:
        CheckpointError: as `read_language_model`.
    """
    model = _read(AutoModel, folder, dtype)
    return _named("model.vision_tower.", getattr(model, "vision_model", model), folder)


def _read(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    try:
        model, told = kind.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(folder, f"transformers cannot read it ({reason})") from error
    lacking = sorted({*told["missing_keys"], *(str(key) for key in told["mismatched_keys"])})
    if lacking:
        raise CheckpointError(
            folder, f"lacks {len(lacking)} weights: {', '.join(lacking[:5])}", "Download it again"
        )
    return model


def _named(prefix: str, module: Any, folder: Path) -> Tensors:
    state: dict[str, torch.Tensor] = module.state_dict()
    return {
        canonical(prefix + name): StoredTensor(
            folder, name, value.dtype, tuple(value.shape), 0, value
        )
        for name, value in state.items()
    }
