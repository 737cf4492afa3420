"""transformers' own tests of a model and of a processor, put to ours.

They come from transformers' source distribution (`make test-mixins` fetches it), which lacks some
modules that its tests import; stand-ins for those are made here. Without `--transformers-tests`
the folder is not collected.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PACKAGE = "transformers_tests"
# Values of common settings that a config has to keep through saving and loading.
COMMON_SETTINGS = {
    "return_dict": False,
    "output_hidden_states": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 5,
    "architectures": ["SomeModel"],
    "id2label": {0: "label"},
    "label2id": {"label": "0"},
    "problem_type": "regression",
}
MARKERS = (
    "accelerate_tests",
    "flash_attn_test",
    "flash_attn_3_test",
    "flash_attn_4_test",
    "slow",
    "torch_compile_test",
)
# Of the mixins that the distribution lacks only the names are needed: nothing here inherits them.
STAND_INS: dict[str, dict[str, Any]] = {
    "exporters": {},
    "exporters.test_export": {"ExportTesterMixin": type("ExportTesterMixin", (), {})},
    "generation": {},
    "generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    "utils": {},
    "utils.test_configuration_utils": {"config_common_kwargs": COMMON_SETTINGS},
}


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("--transformers-tests")
    if given is None:
        raise pytest.UsageError("tests/mixins needs --transformers-tests DIR: run make test-mixins")
    folder = Path(given).resolve()
    if not (folder / PACKAGE / "test_modeling_common.py").is_file():
        raise pytest.UsageError(
            f"--transformers-tests {given}: no {PACKAGE}/test_modeling_common.py there; "
            "python scripts/fetch_transformers_tests.py --out DIR puts it there"
        )
    for marker in MARKERS:
        config.addinivalue_line("markers", f"{marker}: of transformers' tests")
    sys.path.insert(0, str(folder))
    for name, members in STAND_INS.items():
        module = ModuleType(f"{PACKAGE}.{name}")
        module.__dict__.update(members)
        sys.modules[module.__name__] = module
    fetching = ModuleType("fetch_hub_objects_for_ci")
    fetching.__dict__["url_to_local_path"] = str  # media are our own: nothing is fetched
    sys.modules[fetching.__name__] = fetching
