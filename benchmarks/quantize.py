"""What fewer bits cost: the starter's accuracy on its held-out clips, and its language model's bytes.

    python benchmarks/quantize.py [--kinds none int8 fp8 nf4]

Closed questions in the usual wordings, asked of pictures and sound; an answer is right where `videollama2 eval
scenes` counts it so.
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
    made.add_argument("--limit", type=int, help="the first questions alone")
    made.add_argument("--out", type=Path, default=common.RESULTS)
    args = made.parse_args()
    from videollama2.assistant import VideoLlama2
    from videollama2.evaluation.task import Question
    from videollama2.evaluation.tasks.scenes import SCENES

    asked: list[Question] = [
        question for question in SCENES.read(CLIPS, "") if question.details["metric"] == "accuracy"
    ][: args.limit]
    found: list[dict[str, object]] = []
    for kind in args.kinds:
        quantize = None if kind == "none" else kind
        model = VideoLlama2.from_pretrained("starter", device=args.device, quantize=quantize)
        requests = [{"question": one.prompts[0], "media": (one.media[0].path,)} for one in asked]
        answers = model.batch(requests, max_new_tokens=SCENES.max_new_tokens, batch_size=16)
        marks = [
            SCENES.score(question, [str(answer)]).released.scores["accuracy"]
            for question, answer in zip(asked, answers, strict=True)
        ]
        right = round(sum(marks))
        text = model.model.model.language_model
        held = sum(parameter.nbytes for parameter in text.parameters())
        found.append(
            {"kind": kind, "right": right, "asked": len(asked), "language_model_bytes": held}
        )
        print(
            f"{kind:6} {right:5} of {len(asked)}  {right / len(asked):7.1%}  {held / 1e6:8.2f} MB"
        )
    values = {
        "benchmark": "quantize",
        **common.facts(args.device),
        "cases": found,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"quantize-{args.device}.json").write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
