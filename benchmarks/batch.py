"""Many questions at once about one clip each, answered together: questions a second.

    python benchmarks/batch.py [--small] [--questions 32] [--tokens 128]

Stock: one `generate` after the other, as the released code answers, timed on a few. "One clip" asks
all questions about the same clip, which is then read once.
"""

from __future__ import annotations

import common
import torch

from videollama2.generation.batch import BatchRow, ContinuousBatch
from videollama2.generation.prefix import PrefixCache
from videollama2.generation.settings import SamplingSettings


def main() -> None:
    made = common.parser(__doc__)
    made.add_argument("--questions", type=int, default=32)
    made.add_argument("--tokens", type=int, default=128)
    args = made.parse_args()
    if args.small:
        args.questions, args.tokens = 8, 16
    args.repeats = args.repeats or 2
    model = common.build(args)
    settings = SamplingSettings(max_new_tokens=args.tokens)
    with torch.inference_mode():
        media = common.clip(args, *((8, 2.0) if args.small else (16, 30.0)))
        clip = list(common.prompt_of(model, media).media)
        asked = [
            common.prompt_with(model, clip, 63, seed=number) for number in range(args.questions)
        ]

        def ours(prefix: PrefixCache | None) -> None:
            batch = ContinuousBatch(model, prefix=prefix, compile_backend=args.compile)
            for prompt in asked:
                batch.join([BatchRow(prompt, settings)])
            while batch.step():
                pass

        def stock() -> None:
            for prompt in asked[:2]:
                inputs = common.stock_inputs(model, prompt)
                model.generate(**inputs, max_new_tokens=args.tokens, do_sample=False)

        works = {
            "a clip each": lambda: ours(None),
            "one clip": lambda: ours(PrefixCache(2**34)),
            "stock": stock,
        }
        took = common.side_by_side(works, args.device, common.rounds(args))
    one_by_one = 2000 / took["stock"]
    notes = {"questions": args.questions, "tokens": args.tokens, "prompt": len(asked[0])}
    cases = [
        common.Case(
            name, 1000 * args.questions / took[name], one_by_one, unit="questions/s", notes=notes
        )
        for name in ("a clip each", "one clip")
    ]
    common.report("batch", args, cases, None)


if __name__ == "__main__":
    main()
