"""Training steps at the released size, by the trainer that trains: samples a second, memory, MFU.

    python benchmarks/train_step.py                            # on a GPU: all three cases
    python benchmarks/train_step.py --small                    # on any CPU, in seconds

Needs no file: weights are random, clips are noise. The cases are the connector stage of Qwen2-7B,
SigLIP-so400m-384 and STC v35 (16 frames, 64 text tokens, batch 8), the same with the encoder's
features cached, and full tuning with a language model of 1.5B. The floor is arithmetic: the work of
a step over what the device does at most.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.utils.data import Dataset
from transformers import TrainingArguments

from videollama2.model.config import VideoLlama2Config
from videollama2.model.model import VideoLlama2ForConditionalGeneration
from videollama2.model.tokens import num_video_tokens, vision_grid
from videollama2.processing.parts import LoadedMedia
from videollama2.training.collate import Collator, Row
from videollama2.training.flops import Sizes, StepFlops, peak_flops
from videollama2.training.metrics import Metrics, peak_memory, read_metrics
from videollama2.training.parts import choose, recompute_layers
from videollama2.training.recipe import Recipe
from videollama2.training.recipe_file import load_recipe
from videollama2.training.shapes import planned_config
from videollama2.training.skipped import SkippedList
from videollama2.training.trainer import StageTrainer

TEXT, LEARNED, WARM_UP = 64, 32, 3
RESULTS = Path(__file__).parent / "results"
SMALL: dict[str, Any] = {
    "vision_config": {
        "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56, "patch_size": 14,
    },
    "text_config": {
        "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512,
    },
    "connector_config": {"connector_type": "stc_connector_v35", "depth": 1},
    "num_frames": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What is trained, and what it is held against."""

    name: str
    recipe: str
    language_model: str
    batch: int
    encoded: bool = False
    goal: str = ""


CASES = (
    Case("connector", "video_pretrain", "Qwen2-7B-Instruct", 8, goal="9 samples/s, under 74.8 GiB"),
    Case("cached", "video_pretrain", "Qwen2-7B-Instruct", 8, encoded=True, goal="15 samples/s"),
    Case("full", "video_finetune", "Qwen2-1.5B-Instruct", 8, goal="MFU 45 %"),
)


@dataclass(frozen=True)
class Result:
    """One case, measured. `mfu` is also the fraction of the floor's speed that was reached."""

    case: str
    parameters: int
    trainable: int
    batch: int
    tokens_per_sample: int
    samples_per_s: float
    seconds_per_step: float
    memory_gib: float
    tflop_per_sample: float
    floor_samples_per_s: float
    mfu: float
    goal: str


class Repeated(Dataset[Row]):
    """One record, again and again."""

    def __init__(self, row: Row, length: int) -> None:
        self.row, self.length = row, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Row:
        return self.row


def measure(case: Case, args: argparse.Namespace, peak: float) -> Result:
    """Train for some steps and take the middle one's time; `peak` in FLOP/s."""
    batch = args.batch or (2 if args.small else case.batch)
    recipe = load_recipe(
        case.recipe,
        [f"batch.total={batch}", f"batch.per_device={batch}", f"data.workers={args.workers}",
         f"model.language_model={case.language_model}", *args.settings],
    )  # fmt: skip
    torch.manual_seed(0)
    half = not args.small
    model = build(recipe, args.small, half)
    row = row_of(model.config, case.encoded)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    steps = WARM_UP + args.steps
    with tempfile.TemporaryDirectory() as folder:
        noted = train(recipe, model, row, steps, Path(folder), half)
    seconds = statistics.median(line["seconds_per_step"] for line in noted[WARM_UP:])
    flops = StepFlops(model).step(sizes(model.config, len(row.ids), case.encoded))
    speed = batch / seconds
    return Result(
        case=case.name,
        parameters=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        batch=batch,
        tokens_per_sample=len(row.ids),
        samples_per_s=round(speed, 3),
        seconds_per_step=round(seconds, 4),
        memory_gib=round((peak_memory() or 0) / 2**30, 2),
        tflop_per_sample=round(flops / 1e12, 6),
        floor_samples_per_s=round(peak / flops, 3),
        mfu=round(speed * flops / peak, 4),
        goal="" if args.small else case.goal,
    )


def build(recipe: Recipe, small: bool, half: bool) -> Any:
    """The model with random weights, on the device, as a run has it."""
    config = VideoLlama2Config(**SMALL) if small else planned_config(recipe.model)
    kind: Any = VideoLlama2ForConditionalGeneration
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = kind._from_config(config, dtype=torch.bfloat16 if half else torch.float32)
    choose(model, recipe)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if recipe.optimizer.gradient_checkpointing:
        recompute_layers(model)
    return model.train()


def row_of(config: Any, encoded: bool) -> Row:
    """A clip of noise and words at random."""
    rows, columns = vision_grid(config)
    vision = config.vision_config
    report: Any = None  # nothing was read
    if encoded:
        features = torch.randn(config.num_frames, rows * columns, vision.hidden_size)
        clip = LoadedMedia("video", None, None, report, encoded_pictures=features.bfloat16())
    else:
        side = vision.image_size
        clip = LoadedMedia("video", torch.randn(config.num_frames, 3, side, side), None, report)
    ids = [config.video_token_id] * num_video_tokens(config, config.num_frames)
    words = list(range(5, 5 + TEXT))
    learned = words[-LEARNED:]
    return Row(ids + words, [-100] * (len(ids) + TEXT - LEARNED) + learned, (clip,))


def sizes(config: Any, length: int, encoded: bool) -> Sizes:
    """The sizes of one such record."""
    side, frames = config.vision_config.image_size, config.num_frames
    if encoded:
        return Sizes((length,), LEARNED, encoded_clips=(frames,))
    return Sizes((length,), LEARNED, clips=((frames, side, side),))


def train(
    recipe: Recipe, model: Any, row: Row, steps: int, folder: Path, half: bool
) -> list[dict[str, Any]]:
    """The metrics of so many steps."""
    length = steps * recipe.batch.total
    arguments = TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=recipe.batch.per_device,
        num_train_epochs=1, learning_rate=1e-5, bf16=half, optim="adamw_torch", logging_steps=1,
        save_strategy="no", report_to="none", disable_tqdm=True, remove_unused_columns=False,
        dataloader_num_workers=recipe.data.workers, use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    trainer: Any = StageTrainer(
        recipe, model, arguments, train_dataset=Repeated(row, length), data_collator=Collator(0),
        skipped=SkippedList(folder / "skipped.jsonl", 0.0, length),
        metrics=Metrics(folder / "metrics.jsonl"), epoch_length=length,
    )  # fmt: skip
    trainer.train()
    return read_metrics(folder / "metrics.jsonl")


def by_matrices(side: int = 1024, repeats: int = 5) -> float:
    """FLOP/s of a matrix product on this CPU, where nobody says what the device does at most."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    times: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - began)
    return 2.0 * side**3 / min(times)


def table(results: list[Result]) -> str:
    """The results in Markdown."""
    lines = [
        "| case | trainable of all | samples/s | floor | reached (MFU) | GiB | goal |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.case} | {one.trainable:,} of {one.parameters:,} | {one.samples_per_s:.2f} "
        f"| {one.floor_samples_per_s:.2f} | {one.mfu:.1%} | {one.memory_gib:.1f} "
        f"| {one.goal or '-'} |"
        for one in results
    ]
    return "\n".join(lines)


def surroundings() -> dict[str, str]:
    """Where and when this was measured."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    cpus = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpus.read_text()) if cpus.is_file() else None
    cpu = f"{torch.get_num_threads()} threads of {found[1] if found else platform.processor()}"
    return {
        "hardware": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu,
        "commit": commit or "unknown",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "benchmarks/train_step.py", *sys.argv[1:]]),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", choices=[case.name for case in CASES], action="append")
    parser.add_argument("--small", action="store_true", help="a tiny model, in float32")
    parser.add_argument("--steps", type=int, default=20, help="measured, after a few to warm up")
    parser.add_argument("--batch", type=int, help="records to a step")
    parser.add_argument("--workers", type=int, default=2, help="processes that make batches")
    parser.add_argument("--peak-flops", type=float, help="of the device, where it is not known")
    parser.add_argument("--out", type=Path, default=RESULTS / "train_step.json")
    parser.add_argument("settings", nargs="*", help="settings of the recipe on top, key=value")
    args = parser.parse_args()
    if not args.small and not torch.cuda.is_available():
        parser.error("the released size needs a GPU; --small measures a tiny model here")
    if args.small:
        args.workers = 0
    peak = args.peak_flops or peak_flops(not args.small) or by_matrices()
    results: list[Result] = []
    for case in CASES:
        if args.case is None or case.name in args.case:
            results.append(measure(case, args, peak))
            gc.collect()
            torch.cuda.empty_cache()
    print(table(results))
    said = {**surroundings(), "results": [asdict(result) for result in results]}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(said, indent=2) + "\n")


if __name__ == "__main__":
    main()
