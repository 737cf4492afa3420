"""The starter on a CPU: time to the first word and words' rate, beside transformers' `generate`.

    python benchmarks/starter.py [--threads 2] [--repeats 7] [--dtype bfloat16]

One clip, one process, taking turns. "First" is prefill and one token, from the encoders' tokens on for both.
"""

from __future__ import annotations

from pathlib import Path

import common
import torch

from videollama2.assistant import VideoLlama2
from videollama2.engine import user_message
from videollama2.generation.batch import BatchRow
from videollama2.generation.settings import SamplingSettings

CLIPS = Path(__file__).parents[1] / "tests" / "starter" / "clips"
TOKENS = 64


def main() -> None:
    made = common.parser(__doc__)
    made.add_argument("--threads", type=int, default=torch.get_num_threads())
    made.add_argument("--dtype", default="float32")
    args = made.parse_args()
    args.device = "cpu"
    torch.set_num_threads(args.threads)
    assistant = VideoLlama2.from_pretrained("starter", device="cpu", dtype=args.dtype)
    engine, model = assistant._engine, assistant.model
    model.generation_config.eos_token_id = None
    path = next(iter(sorted(CLIPS.glob("*.mp4"))))
    media = engine.take_in(engine.parts(_request(path)))
    question = user_message("What is seen and heard?", media)
    prompt = engine.prompt([question], media)
    engine.writer.stop_ids = frozenset()
    inputs = common.stock_inputs(model, prompt)

    def ours(tokens: int) -> None:
        batch = engine.writer.open_batch()
        batch.join([BatchRow(prompt, SamplingSettings(max_new_tokens=tokens))])
        while batch.step():
            pass

    def stock(tokens: int) -> None:
        model.generate(**inputs, max_new_tokens=tokens, do_sample=False)

    def ask(again: bool) -> None:
        if not again:
            assistant.forget()
        next(assistant.stream("What is heard?", media=[path], max_new_tokens=2))

    works = {
        "ours, first": lambda: ours(1),
        "stock, first": lambda: stock(1),
        "ours": lambda: ours(TOKENS),
        "stock": lambda: stock(TOKENS),
        "file to first word": lambda: ask(False),
        "the same clip again": lambda: ask(True),
    }
    with torch.inference_mode():
        took = common.side_by_side(works, "cpu", args.repeats or 7)
    rate = {
        name: 1000 * (TOKENS - 1) / (took[name] - took[f"{name}, first"])
        for name in ("ours", "stock")
    }
    notes = {"threads": args.threads, "dtype": args.dtype, "prompt": len(prompt), "tokens": TOKENS}
    cases = [
        common.Case("first token of the prompt", took["ours, first"], took["stock, first"]),
        common.Case("one answer", rate["ours"], rate["stock"], unit="tokens/s", notes=notes),
        common.Case("file to first word", took["file to first word"]),
        common.Case("another question, same clip", took["the same clip again"]),
    ]
    common.report("starter", args, cases, None)


def _request(path: Path):
    from videollama2.answers import Request

    return Request.of({"question": "", "media": (path,)})


if __name__ == "__main__":
    main()
