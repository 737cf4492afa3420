"""A checkpoint's tokenizer as vLLM takes it: with the three placeholders, and its chat template."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false
from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from vllm.tokenizers.hf import get_cached_tokenizer

from videollama2.checkpoints.processor import load_processor
from videollama2.processing.chat import MEDIA_TOKENS
from videollama2.processing.processor import VideoLlama2Processor
from videollama2.processing.tokens import KINDS


class VideoLlama2Tokenizer:
    """Loads what the checkpoint's own processor writes with."""

    @classmethod
    def from_pretrained(
        cls,
        path_or_repo_id: str | Path,
        *_: Any,
        revision: str | None = None,
        download_dir: str | None = None,
        **__: Any,
    ) -> Any:
        """The tokenizer of a checkpoint of any layout.

        Raises:
            CheckpointError: it has none.
        """
        tokenizer = processor_of(str(path_or_repo_id), revision, download_dir).tokenizer
        return get_cached_tokenizer(tokenizer)


@lru_cache(maxsize=8)
def processor_of(
    model: str, revision: str | None = None, download_dir: str | None = None
) -> VideoLlama2Processor:
    """The processor of a checkpoint of any layout; its tokenizer knows all three placeholders.

    Raises:
        CheckpointError: as `load_processor`.
    """
    processor = load_processor(model, revision=revision, cache_dir=download_dir)
    # Where the model's vocabulary is larger than the tokenizer's these have other ids than the
    # model's own: they are written in prompts alone, and replaced before the model sees them.
    processor.tokenizer.add_tokens([MEDIA_TOKENS[kind] for kind in KINDS], special_tokens=True)
    return processor


def placeholder_ids(tokenizer: Any) -> dict[str, int]:
    """The id that each kind of medium has in vLLM's prompts."""
    ids = tokenizer.convert_tokens_to_ids([MEDIA_TOKENS[kind] for kind in KINDS])
    return dict(zip(KINDS, ids, strict=True))
