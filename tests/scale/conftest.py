from __future__ import annotations

from pathlib import Path

import crowd as crowds
import pytest


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips to caption; `helpers/crowd.py` says which."""
    return crowds.make(tmp_path_factory.mktemp("crowd"))
