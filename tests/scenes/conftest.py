from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from videollama2.scenes import Scene, World, draw_scene, load_world


@pytest.fixture(scope="session")
def world() -> World:
    return load_world(None)


@pytest.fixture(scope="session")
def scenes(world: World) -> list[Scene]:
    rng = np.random.default_rng(5)
    return [draw_scene(world, rng) for _ in range(600)]


@pytest.fixture(scope="session")
def balance() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "scene_balance.py"
    spec = importlib.util.spec_from_file_location("scene_balance", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
