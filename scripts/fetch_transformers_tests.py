"""Fetch transformers' own tests, as its source distribution of the pinned version holds them.

    python scripts/fetch_transformers_tests.py --out .transformers-tests

They are put below OUT as the package `transformers_tests`, for `pytest tests/mixins
--transformers-tests OUT`. What is there already, of the right version, is left as it is.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "transformers_tests"


def pinned_version(constraints: Path) -> str:
    """The version of transformers in a constraints file."""
    found = re.search(r"^transformers==(\S+)$", constraints.read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{constraints}: no line transformers==VERSION")
    return found.group(1)


def download(version: str, folder: Path) -> Path:
    """The source distribution, by pip, which checks it."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    what = ["--no-deps", "--no-binary", "transformers", f"transformers=={version}"]
    subprocess.run([*pip, *what, "--dest", str(folder)], check=True)
    return next(folder.glob("transformers-*.tar.gz"))


def unpack(archive: Path, package: Path) -> int:
    """Write the files of the archive's `tests/` into `package`; how many there are."""
    count = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = Path(member.name).parts
            if len(parts) != 3 or parts[1] != "tests" or not member.isfile():
                continue
            content = tar.extractfile(member)
            if content is not None:
                (package / parts[2]).write_bytes(content.read())
                count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / ".transformers-tests")
    out: Path = parser.parse_args().out
    version = pinned_version(ROOT / "constraints.txt")
    stamp = out / "version"
    if stamp.is_file() and stamp.read_text() == version:
        return
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / PACKAGE
        package.mkdir()
        count = unpack(download(version, Path(scratch)), package)
        if not (package / "test_modeling_common.py").is_file():
            raise SystemExit(f"transformers {version}: its source distribution holds no such tests")
        (package / "__init__.py").touch()
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        shutil.move(package, out / PACKAGE)
    stamp.write_text(version)
    print(f"{count} files of transformers {version}'s tests in {out}")


if __name__ == "__main__":
    main()
