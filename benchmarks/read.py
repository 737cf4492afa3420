"""Clips a second from file to the encoders' inputs, two processes at a time.

    python benchmarks/read.py [CLIP ...] [--made 640x360x60 ...] [--small] [--processes 2]

`readers.py` says what each arm does: ours with sound, without, and with sound as the released code hears
it; transformers' own reading and the released code's, with and without sound. Arms stand beside those that
do the same work (`same_work` in the notes), and ours with sound also beside others without.
The floor is decoding the same frames and doing nothing with them, and Pillow's resize of 16 pictures
alone, each measured by itself: the least for who asks Pillow, which ours does not for small frames.
The CLIPs are one group; each `--made` (width, height, seconds) is another, made first. Without either,
one minute of 720p is made.
On a machine that others use, `--clock processor` divides by the seconds of processor that readers and the
programs they start took instead of those that passed: what as many processors as there are processes
would read if they did nothing else.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import common
from clips import make_clip
from readers import FRAMES, PAIRS, READERS, versions


def read(job: tuple[str, str]) -> tuple[int, float]:
    """One clip by one reader, in a process of the pool: frames, seconds of processor."""
    import torch

    torch.set_num_threads(1)
    name, path = job
    began = _processor_s()
    return READERS[name](path), _processor_s() - began


def _processor_s() -> float:
    """Of this process and of the programs that it started and waited for."""
    whole = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, whole))


def available(name: str, path: str, pool: Any) -> bool:
    try:
        frames, _ = pool.apply(read, ((name, path),))
    except Exception as error:  # noqa: BLE001  (of any library: it is named and left out)
        print(f"{name}: left out ({str(error).splitlines()[0]})")
        return False
    if frames != FRAMES:
        raise SystemExit(f"{name} read {frames} frames of {path}")
    return True


def rates_of(paths: list[str], pool: Any, args: argparse.Namespace) -> dict[str, float]:
    """Clips a second by each reader, the median of rounds in which they take turns."""
    names = [name for name in READERS if available(name, paths[0], pool)]
    times: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(1 + common.rounds(args)):  # the first warms every process up
        for name in names:
            jobs = [(name, path) for path in paths] * (args.processes if len(paths) == 1 else 1)
            began = time.perf_counter()
            done = pool.map(read, jobs, chunksize=1)
            passed = time.perf_counter() - began
            if args.clock == "processor":
                passed = sum(seconds for _, seconds in done) / args.processes
            if round_:
                times[name].append(len(jobs) / passed)
    return {name: sorted(each)[len(each) // 2] for name, each in times.items()}


def cases_of(group: str, rates: dict[str, float], note: dict[str, Any]) -> list[common.Case]:
    floor = 1 / (1 / rates["bare decode"] + 1 / rates["bare resize"])
    note = {**note, "rates": rates}
    return [
        common.Case(
            f"{group}: {name}, beside {other}",
            rates[name],
            rates[other],
            floor,
            unit="clips/s",
            notes={**note, "same_work": same, "times_stock": rates[name] / rates[other]},
        )
        for name, other, same in PAIRS
        if other in rates
    ]


def main() -> None:
    made = common.parser(__doc__)
    made.add_argument("clips", nargs="*", type=Path)
    made.add_argument("--made", nargs="*", default=[], metavar="WIDTHxHEIGHTxSECONDS")
    made.add_argument("--processes", type=int, default=2)
    made.add_argument("--clock", choices=("wall", "processor"), default="wall")
    args = made.parse_args()
    args.device = "cpu"
    for path in args.clips:
        if not path.is_file():
            made.error(f"{path}: no such file. Give clips, or --made to have one made")
    if not args.clips and not args.made:
        args.made = ["160x120x3"] if args.small else ["1280x720x60"]
    cases: list[common.Case] = []
    with tempfile.TemporaryDirectory() as scratch:
        groups = {"given": [str(path) for path in args.clips]} if args.clips else {}
        for size in args.made:
            path = Path(scratch) / f"{size}.mp4"
            make_clip(path, *(int(number) for number in size.split("x")))
            groups[f"{size} s"] = [str(path)]
        context = multiprocessing.get_context("spawn")
        with context.Pool(args.processes) as pool:
            for group, paths in groups.items():
                rates = rates_of(paths, pool, args)
                note = {"processes": args.processes, "clock": args.clock, "clips": len(paths)}
                note |= versions()
                cases += cases_of(group, rates, note)
    common.report("read", args, cases, None)


if __name__ == "__main__":
    main()
