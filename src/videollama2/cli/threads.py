"""As many threads as this process may have processors: a container's share is not the machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # "max 100000", or microseconds of each so many


def processors(quota: Path = _QUOTA) -> int:
    """How many processors may be used: those of the affinity mask, or a container's share."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        share, period = quota.read_text(encoding="ascii").split()
        return max(1, min(count, math.ceil(int(share) / int(period))))
    except (OSError, ValueError):  # no such file, or no limit
        return count


def settle_threads() -> None:
    """Tell torch, which asks the machine alone; who has set OMP_NUM_THREADS has decided."""
    if "OMP_NUM_THREADS" in os.environ:
        return
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), processors()))
