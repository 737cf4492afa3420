"""From pixels and filter bank on the device to the first token; a second question about the clip.

    python benchmarks/first_token.py [--small] [--frames 16] [--seconds 30]

Stock: transformers' `generate` of one token on the same weights. The floor is all products at this
run's best rate.
"""

from __future__ import annotations

import common
import torch

from videollama2.generation.batch import BatchRow, ContinuousBatch
from videollama2.generation.encode import encode_media
from videollama2.generation.prefix import PrefixCache
from videollama2.generation.settings import SamplingSettings
from videollama2.processing.parts import LoadedMedia, MediaReport

ONE = SamplingSettings(max_new_tokens=1)


def main() -> None:
    made = common.parser(__doc__)
    made.add_argument("--frames", type=int, default=16)
    made.add_argument("--seconds", type=float, default=30.0)
    args = made.parse_args()
    if args.small:
        args.frames, args.seconds = 8, 2.0
    model = common.build(args)
    media = common.clip(args, args.frames, args.seconds)
    best = common.ceilings(args)
    with torch.inference_mode():
        prompt = common.prompt_of(model, media)
        prefix = PrefixCache(2**34)
        first(model, prompt, prefix)
        number = iter(range(10, 10**6))

        def stock() -> None:
            inputs = common.stock_inputs(model, prompt)
            raw = {
                "pixel_values_videos": media["video"][None],
                "input_features": media["audio"][None],
            }
            inputs |= raw
            del inputs["video_features"], inputs["audio_features"]
            model.generate(**inputs, max_new_tokens=1, do_sample=False)

        def whole() -> None:
            report = MediaReport("", "video", args.seconds, args.frames, args.seconds)
            loaded = LoadedMedia("video", media["video"], media["audio"], report)
            tokens = encode_media(model, loaded)
            first(model, common.prompt_with(model, list(tokens), 63), None)

        def again() -> None:
            other = common.prompt_with(model, list(prompt.media), 63, seed=next(number))
            first(model, other, prefix)

        works = {
            "first token, all in": whole,
            "generate": stock,
            "prefill": lambda: first(model, prompt, None),
            "another question about the clip": again,
        }
        took = common.side_by_side(works, args.device, common.rounds(args))
        notes = {"frames": args.frames, "seconds": args.seconds, "tokens": len(prompt)}
        cases = [
            common.Case(
                name,
                took[name],
                took["generate"] if name == "first token, all in" else None,
                None
                if name.startswith("another")
                else 1000 * common.flops_of(works[name]) / best.flops,
                notes=notes,
            )
            for name in works
            if name != "generate"
        ]
    common.report("first_token", args, cases, best)


def first(model, prompt, prefix) -> None:
    batch = ContinuousBatch(model, prefix=prefix)
    batch.join([BatchRow(prompt, ONE)])
    batch.close()


if __name__ == "__main__":
    main()
