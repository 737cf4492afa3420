"""What every test may ask for.

The recording of the released code's numbers (`recorded`), and a tiny random model with a tokenizer
(`tiny_model`, `tiny_tokenizer`), also as a checkpoint folder of our own layout (`tiny_folder`).
"""

from __future__ import annotations

import shutil
import signal
import tarfile
import tempfile
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

# In the background of a shell Ctrl-C is ignored, also by what tests start: here it counts again.
signal.signal(signal.SIGINT, signal.default_int_handler)

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # tests/parity needs pytest alone
    pass
else:
    # A slow machine is no reason to fail: how long an example takes is not what is tested.
    settings.register_profile(
        "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("patient")

OWN_RECORDING = Path(__file__).parent / "recorded"
MIXINS = Path(__file__).parent / "mixins"
WITH_VLLM = Path(__file__).parent / "engines" / "vllm"
BROWSER = Path(__file__).parent / "browser"
ON_RAY = Path(__file__).parent / "ray"
_UNPACKED = pytest.StashKey[Path]()
_TEMPORARY = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("recordings of the released code")
    group.addoption(
        "--recorded",
        metavar="DIR",
        default=str(OWN_RECORDING),
        help="folder of a recording (default: the project's own, tests/recorded)",
    )
    group.addoption(
        "--media",
        metavar="DIR",
        default=None,
        help="folder of the clips that the recording was made of; without it they are left out",
    )
    parser.getgroup("the page").addoption(
        "--chromium",
        metavar="FILE",
        default=None,
        help="a Chromium; without it tests/browser is not collected",
    )
    parser.getgroup("Ray").addoption(
        "--ray",
        action="store_true",
        default=None,
        help="Ray is installed; without this tests/ray is not collected",
    )
    parser.getgroup("transformers' own tests").addoption(
        "--transformers-tests",
        metavar="DIR",
        default=None,
        help="folder that scripts/fetch_transformers_tests.py filled; without it tests/mixins is "
        "not collected",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What `make test` has not: tests that need more than it installs, or other versions.

    `make test-mixins`, `make test-browser`, `make test-ray` and `make test-vllm` have them.
    """
    needed = {MIXINS: "--transformers-tests", BROWSER: "--chromium", ON_RAY: "--ray"}
    option = needed.get(collection_path)
    if option is not None and config.getoption(option) is None:
        return True
    if collection_path == WITH_VLLM and find_spec("vllm") is None:
        return True
    return None


def recorded_root(config: pytest.Config) -> Path:
    """The recording's folder with every `*.tar.xz` in it unpacked; unpacked once a session.

    Raises `pytest.UsageError` where there is no such folder.
    """
    if _UNPACKED in config.stash:
        return config.stash[_UNPACKED]
    folder = Path(config.getoption("--recorded")).resolve()
    if not folder.is_dir():
        raise pytest.UsageError(f"--recorded {folder}: no such folder")
    packed = sorted(folder.glob("*.tar.xz"))
    root = folder
    if packed:
        root = Path(tempfile.mkdtemp(prefix="videollama2-recorded-"))
        config.stash[_TEMPORARY] = root
        for entry in folder.iterdir():
            if entry not in packed:
                (root / entry.name).symlink_to(entry)
        for archive in packed:
            _unpack(archive, root)
    config.stash[_UNPACKED] = root
    return root


def _unpack(archive: Path, root: Path) -> None:
    with tarfile.open(archive, "r:xz") as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
                raise pytest.UsageError(f"{archive}: {member.name} does not belong in a recording")
            target = root.joinpath(*name.parts)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            if content is None:
                raise pytest.UsageError(f"{archive}: {member.name} cannot be read")
            target.write_bytes(content.read())


def pytest_unconfigure(config: pytest.Config) -> None:
    if _TEMPORARY in config.stash:
        shutil.rmtree(config.stash[_TEMPORARY], ignore_errors=True)


@pytest.fixture(scope="session")
def recorded(pytestconfig: pytest.Config) -> Path:
    """The recording's folder: `<variant>/`, `<tower>/`, `preprocessing*`."""
    return recorded_root(pytestconfig)


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """A tokenizer of single bytes with the three media tokens."""
    import tiny  # here, so that tests of media alone need no torch

    return tiny.build_tokenizer()


@pytest.fixture(scope="session")
def tiny_model(tiny_tokenizer: Any) -> Any:
    """A random model that sees and hears, a few thousand parameters large."""
    import tiny

    return tiny.build_model(tiny.build_config(tiny_tokenizer))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as a checkpoint folder, with its processor."""
    import tiny

    return tiny.save(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small media, sound and broken; `helpers/clips.py` says which."""
    import clips

    return clips.write_all(tmp_path_factory.mktemp("media"))
