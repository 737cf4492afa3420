"""Tokens a second of one answer, after a clip's prompt.

    python benchmarks/decode.py [--small] [--tokens 128] [--compile inductor]

Stock: transformers' `generate` with its own cache (and, on a GPU with --static, its static cache
and compiled steps). The floor reads every weight of language model and output layer once a token,
at this run's best rate of reading.
"""

from __future__ import annotations

import common
import torch

from videollama2.generation.batch import BatchRow, ContinuousBatch
from videollama2.generation.settings import SamplingSettings


def main() -> None:
    made = common.parser(__doc__)
    made.add_argument("--tokens", type=int, default=128)
    made.add_argument("--static", action="store_true", help="transformers' static cache, compiled")
    args = made.parse_args()
    if args.small:
        args.tokens = 24
    model = common.build(args)
    best = common.ceilings(args)
    with torch.inference_mode():
        media = common.clip(args, *((8, 2.0) if args.small else (16, 30.0)))
        prompt = common.prompt_of(model, media)
        batch = ContinuousBatch(model, compile_backend=args.compile)

        def ours(tokens: int) -> None:
            batch.join([BatchRow(prompt, SamplingSettings(max_new_tokens=tokens))])
            while batch.step():
                pass

        def stock(tokens: int) -> None:
            kind = {"cache_implementation": "static"} if args.static else {}
            inputs = common.stock_inputs(model, prompt)
            model.generate(**inputs, max_new_tokens=tokens, do_sample=False, **kind)

        works = {
            "ours": lambda: ours(args.tokens),
            "ours, first": lambda: ours(1),
            "stock": lambda: stock(args.tokens),
            "stock, first": lambda: stock(1),
        }
        took = common.side_by_side(works, args.device, common.rounds(args))
    rate = {
        name: 1000 * (args.tokens - 1) / (took[name] - took[f"{name}, first"])
        for name in ("ours", "stock")
    }
    words = model.model.language_model.get_input_embeddings().weight.nbytes
    read = sum(p.nbytes for p in model.model.language_model.parameters()) - words
    read += model.lm_head.weight.nbytes
    notes = {"tokens": args.tokens, "prompt": len(prompt), "bytes_a_token": read}
    notes["compiled"] = args.compile
    case = common.Case(
        "one answer", rate["ours"], rate["stock"], best.bytes_per_s / read, "tokens/s", notes
    )
    common.report("decode", args, [case], best)


if __name__ == "__main__":
    main()
