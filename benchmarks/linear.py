"""A layer of the language model on a CPU: int8 weights and bfloat16 beside float32.

    python benchmarks/linear.py [--small] [--repeats 9]

One thread, seconds of processor, so that others on the machine count little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import common
import torch
from torch.nn import functional as F

from videollama2.model.narrow import NarrowLinear, narrowed


def took(work: Callable[[], Any], repeats: int) -> float:
    """Milliseconds of processor, the median."""
    work()
    times: list[float] = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        times.append(1000 * (time.process_time() - began))
    return median(times)


def main() -> None:
    args = common.parser(__doc__).parse_args()
    args.device = "cpu"
    torch.set_num_threads(1)
    outputs, inputs = (64, 64) if args.small else (4736, 3584)
    weight = torch.randn(outputs, inputs)
    layer = NarrowLinear(inputs, outputs, False, "int8")
    layer.weight.data, layer.weight_scale.data = narrowed(weight, "int8")
    half = weight.bfloat16()
    repeats = common.rounds(args)
    cases: list[common.Case] = []
    with torch.inference_mode():
        for rows in (1, 8, 92):
            x = torch.randn(rows, inputs)
            y = x.bfloat16()
            stock = took(lambda x=x: F.linear(x, weight), repeats)
            notes = {"stock": "float32", "rows": rows, "outputs": outputs, "inputs": inputs}
            for name, work in {
                "bfloat16": lambda y=y: F.linear(y, half),
                "int8 in bfloat16": lambda y=y: layer(y),
            }.items():
                ours = took(work, repeats)
                cases.append(common.Case(f"{name}, {rows} rows", ours, stock, notes=notes))
    common.report("linear", args, cases, None)


if __name__ == "__main__":
    main()
