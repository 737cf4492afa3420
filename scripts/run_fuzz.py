"""Coverage-guided fuzzing of the parsers that are ours (`pip install -e '.[fuzz]'`).

    python scripts/run_fuzz.py --seconds 60
    python scripts/run_fuzz.py --seconds 600 recipe records

Each harness of tests/helpers/fuzzkit.py runs in a process of its own; what it finds is left in
`fuzz-finds/`. Inputs that reached something new stay in `fuzz-corpus/`, where the next run begins.
Ends with status 1 where something was found.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "helpers")]
LARGEST = 16_384
SLOWEST_S = 20
MOST_MB = 4096


def main() -> int:
    from fuzzkit import HARNESSES

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which harnesses; all without")
    parser.add_argument("--seconds", type=int, default=60, help="for each")
    parser.add_argument("--corpus", type=Path, default=ROOT / "fuzz-corpus")
    parser.add_argument("--finds", type=Path, default=ROOT / "fuzz-finds")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(HARNESSES)
    if unknown:
        parser.error(f"no harness is called {sorted(unknown)}: there are {', '.join(HARNESSES)}")
    if arguments.here:
        _drive(arguments.names[0], arguments)
    failed = [name for name in arguments.names or HARNESSES if not _apart(name, arguments)]
    print(f"found something: {', '.join(failed)}" if failed else "found nothing")
    return bool(failed)


def _apart(name: str, arguments: argparse.Namespace) -> bool:
    places = ["--corpus", str(arguments.corpus), "--finds", str(arguments.finds)]
    command = [sys.executable, __file__, name, "--here", "--seconds", str(arguments.seconds)]
    print(f"--- {name}", flush=True)
    done = subprocess.run([*command, *places], stderr=subprocess.PIPE, text=True, check=False)
    said = done.stderr.splitlines()
    # The last line of libFuzzer's progress says how far it came; where it failed, all is of use.
    shown = [line for line in said if "DONE" in line or "stat::number_of" in line]
    print("\n".join(shown[-2:] if done.returncode == 0 else said[-40:]), flush=True)
    return done.returncode == 0


def _drive(name: str, arguments: argparse.Namespace) -> None:
    import atheris
    from fuzzkit import HARNESSES

    harness = HARNESSES[name]
    seeds = harness.seeds()  # before anything is followed: their making is not of interest
    corpus, finds = arguments.corpus / name, arguments.finds
    corpus.mkdir(parents=True, exist_ok=True)
    finds.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed[:LARGEST])
    for module in [key for key in sys.modules if key.startswith("videollama2")]:
        del sys.modules[module]  # so that they are imported again, followed
    followed = [f"videollama2.{room}" for room in harness.rooms]
    with atheris.instrument_imports(include=followed):
        for seed in seeds:
            harness.run(seed)
    atheris.Setup(
        [
            sys.argv[0], str(corpus), f"-max_total_time={arguments.seconds}",
            f"-max_len={LARGEST}", f"-timeout={SLOWEST_S}", f"-rss_limit_mb={MOST_MB}",
            f"-artifact_prefix={finds / name}-", "-print_final_stats=1",
        ],
        harness.run,
    )  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
