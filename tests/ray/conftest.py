"""A Ray cluster of two CPUs on this machine, for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crowd as crowds
import pytest

HELPERS = Path(__file__).parent.parent / "helpers"


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips to caption; `helpers/crowd.py` says which."""
    return crowds.make(tmp_path_factory.mktemp("crowd"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Ray, connected."""
    os.environ["PYTHONPATH"] = f"{HELPERS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    import ray

    ray.init(
        num_cpus=2, object_store_memory=200 * 1024**2, include_dashboard=False,
        log_to_driver=False, logging_level="error",
    )  # fmt: skip
    yield ray
    ray.shutdown()
