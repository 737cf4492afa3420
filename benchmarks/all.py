"""All benchmarks, one after the other, each in a process of its own.

python benchmarks/all.py [--small] [--compile inductor]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import common

HERE = Path(__file__).parent
NAMES = ("encoders", "first_token", "decode", "batch", "train_step", "read", "growth")


def main() -> None:
    args, _ = common.parser(__doc__).parse_known_args()
    failed: list[str] = []
    began = time.perf_counter()
    for name in NAMES:
        script = HERE / f"{name}.py"
        if not script.exists():
            print(f"{name}: not there yet")
            continue
        options = sys.argv[1:]
        if name == "train_step":  # it takes the file, and no other option of theirs
            options = ["--out", str(args.out / "train_step.json"), *(["--small"] * args.small)]
        if subprocess.run([sys.executable, str(script), *options], check=False).returncode:
            failed.append(name)
    print(f"\nall in {time.perf_counter() - began:.0f} s; failed: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
