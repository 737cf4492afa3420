"""What is said where vLLM is not installed: it lives in an environment of its own."""

from __future__ import annotations

from importlib.util import find_spec

INSTALL = (
    'make it one of its own, with pip install "videollama2[vllm]" where there is a GPU, with make '
    "venv-vllm for the CPU (docs/vllm.md)"
)


class MissingVllmError(ImportError):
    """vLLM is not in this environment."""

    def __init__(self) -> None:
        super().__init__(f"vLLM is not in this environment: {INSTALL}")


def need_vllm() -> None:
    """Say at once that vLLM is missing.

    Raises:
        MissingVllmError: it is.
    """
    if find_spec("vllm") is None:
        raise MissingVllmError
