"""Each encoder alone: frames and sound to tokens of the language model.

    python benchmarks/encoders.py [--small] [--frames 16] [--seconds 30]

Stock: transformers' own vision tower of the same size, with all its layers; nobody else has a
connector or BEATs to compare with. The floor is the work's products at this run's best rate.
"""

from __future__ import annotations

from typing import Any

import common
import torch
from transformers import AutoModel


def main() -> None:
    made = common.parser(__doc__)
    made.add_argument("--frames", type=int, default=16)
    made.add_argument("--seconds", type=float, default=30.0)
    args = made.parse_args()
    if args.small:
        args.frames, args.seconds = 8, 2.0
    model = common.build(args)
    trunk = model.model
    media = common.clip(args, args.frames, args.seconds)
    best = common.ceilings(args)
    with torch.inference_mode():
        frames = trunk.encode_frames(media["video"][None])
        heard = trunk.audio_tower(media["audio"][None])
        auto: Any = AutoModel
        tower = auto.from_config(trunk.config.vision_config).to(media["video"]).eval()
        works = {
            "vision": lambda: trunk.encode_frames(media["video"][None]),
            "vision, transformers": lambda: tower(pixel_values=media["video"]),
            "connector": lambda: trunk.connector(frames),
            "BEATs": lambda: trunk.audio_tower(media["audio"][None]),
            "audio projector": lambda: trunk.audio_projector(heard),
            "filter bank": lambda: _fbank(args),
        }
        took = common.side_by_side(works, args.device, common.rounds(args))
        cases = [
            common.Case(
                name,
                took[name],
                took.get(f"{name}, transformers"),
                1000 * common.flops_of(works[name]) / best.flops,
                notes={"frames": args.frames, "seconds": args.seconds},
            )
            for name in ("vision", "connector", "BEATs", "audio projector")
        ]
        cases.append(common.Case("filter bank", took["filter bank"]))
    common.report("encoders", args, cases, best)


def _fbank(args: Any) -> torch.Tensor:
    from videollama2.processing.fbank import fbank

    samples = torch.zeros(int(args.seconds * 16000), device=args.device)
    return fbank(samples + 0.1)


if __name__ == "__main__":
    main()
