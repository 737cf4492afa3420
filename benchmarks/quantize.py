"""What fewer bits cost: the starter's accuracy on its held-out clips, and its language model's bytes.

python benchmarks/quantize.py [--kinds none int8 fp8 nf4]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import common

CLIPS = Path(__file__).parents[1] / "tests" / "starter" / "clips"


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--kinds", nargs="+", default=["none", "int8", "fp8", "nf4"])
    made.add_argument("--device", default="cpu")
    made.add_argument("--out", type=Path, default=common.RESULTS)
    args = made.parse_args()
    from videollama2.assistant import VideoLlama2
    from videollama2.training.starter.report import score_clips

    found: list[dict[str, object]] = []
    for kind in args.kinds:
        quantize = None if kind == "none" else kind
        model = VideoLlama2.from_pretrained("starter", device=args.device, quantize=quantize)
        scores = score_clips(model, CLIPS, ["both"])["both"]
        right, asked = sum(one.right for one in scores), sum(one.asked for one in scores)
        text = model.model.model.language_model
        held = sum(parameter.nbytes for parameter in text.parameters())
        found.append({"kind": kind, "right": right, "asked": asked, "language_model_bytes": held})
        print(f"{kind:6} {right:5} of {asked}  {right / asked:7.1%}  {held / 1e6:8.2f} MB")
    values = {
        "benchmark": "quantize",
        **common.facts(args.device),
        "cases": found,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"quantize-{args.device}.json").write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
