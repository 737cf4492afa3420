"""What every benchmark needs: a model of the released size without any file, clocks, ceilings, tables."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from videollama2.generation.encode import encode_medium
from videollama2.generation.prompt import MediumTokens, Prompt
from videollama2.model.config import VideoLlama2Config

RESULTS = Path(__file__).parent / "results"
RELEASED = {  # VideoLLaMA2.1-7B-AV
    "text_config": {
        "model_type": "qwen2",
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "max_position_embeddings": 32768,
        "rope_theta": 1e6,
        "use_sliding_window": False,
    },
    "vision_config": {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    },
    "audio_config": {},
    "connector_config": {"connector_type": "stc_connector_v35"},
}
SMALL = {
    "text_config": {
        **RELEASED["text_config"],
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 512,
    },
    "vision_config": {
        **RELEASED["vision_config"],
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 56,
    },
    "audio_config": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "patch_embedding_size": 32,
    },
    "connector_config": {"connector_type": "stc_connector_v35"},
}


@dataclass
class Case:
    """One line of a table: medians in milliseconds, or a rate per second where `unit` says so.

    `floor` is what the ceilings measured in this run allow; `reached` its share.
    """

    name: str
    ours: float
    stock: float | None = None
    floor: float | None = None
    unit: str = "ms"
    notes: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def reached(self) -> float | None:
        if self.floor is None:
            return None
        return self.floor / self.ours if self.unit == "ms" else self.ours / self.floor


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options of all benchmarks."""
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--small", action="store_true", help="a tiny model: seconds on a CPU")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--repeats", type=int, default=None, help="rounds (5 on a GPU, 3 small)")
    made.add_argument("--compile", metavar="BACKEND", help="compile decode steps: inductor")
    made.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    return made


def rounds(args: argparse.Namespace) -> int:
    return args.repeats or (3 if args.small else 5)


def config_of(args: argparse.Namespace) -> VideoLlama2Config:
    return VideoLlama2Config(**(SMALL if args.small else RELEASED), num_frames=16)


def build(args: argparse.Namespace) -> Any:
    """The model with random weights, straight on the device."""
    from videollama2.checkpoints.load import empty_model

    torch.manual_seed(0)
    dtype = torch.bfloat16 if args.device.startswith("cuda") else torch.float32
    model: Any = empty_model(config_of(args))
    for module in model.modules():
        for name, old in list(module.named_parameters(recurse=False)):
            new = torch.empty(old.shape, dtype=dtype, device=args.device)
            if new.dim() < 2:
                new.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                new.normal_(std=0.02)
            setattr(module, name, nn.Parameter(new, requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(args.device))
    model.tie_weights()
    model.generation_config.eos_token_id = None
    return model.eval()


def clip(args: argparse.Namespace, frames: int = 16, seconds: float = 30.0) -> dict[str, Any]:
    """Pixels (T, 3, H, W) and a filter bank (F, 128) of noise, where the model is."""
    config = config_of(args)
    side = int(config.vision_config.image_size)
    made = torch.Generator().manual_seed(1)
    dtype = torch.bfloat16 if args.device.startswith("cuda") else torch.float32
    pixels = torch.randn(frames, 3, side, side, generator=made)
    bank = 15 + 6 * torch.randn(int(seconds * 100) - 2, 128, generator=made)
    return {
        "video": pixels.to(args.device, dtype),
        "audio": bank.to(args.device, dtype) if seconds else None,
    }


def prompt_of(model: Any, media: dict[str, Any], words: int = 63) -> Prompt:
    """The clip's tokens and so many text tokens."""
    tokens = [encode_medium(model, kind, item) for kind, item in media.items() if item is not None]
    return prompt_with(model, tokens, words)


def prompt_with(model: Any, tokens: list[MediumTokens], words: int, seed: int = 2) -> Prompt:
    ids: list[int] = []
    for medium in tokens:
        ids += [model.model.media_token_ids()[medium.kind]] * len(medium.features)
    made = torch.Generator().manual_seed(seed)
    ids += torch.randint(5, 400, (words,), generator=made).tolist()
    return Prompt(tuple(ids), tuple(tokens))


def stock_inputs(model: Any, prompt: Prompt) -> dict[str, Any]:
    """What transformers' `generate` takes for this prompt."""
    device = model.device
    media = {f"{m.kind}_features": [m.features] for m in prompt.media}
    ids = torch.tensor([prompt.input_ids], device=device)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **media}


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def timed(work: Callable[[], Any], device: str) -> float:
    """Milliseconds of one call, all of it done."""
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    return 1000 * (time.perf_counter() - began)


def side_by_side(
    works: dict[str, Callable[[], Any]], device: str, repeats: int
) -> dict[str, float]:
    """Medians of each; they take turns in each round, so that noise is noise for all."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(timed(work, device))
    return {name: statistics.median(each) for name, each in times.items()}


@dataclass(frozen=True)
class Ceilings:
    """What this machine does at best: products in FLOP/s, reading memory in bytes/s."""

    flops: float
    bytes_per_s: float


def ceilings(args: argparse.Namespace) -> Ceilings:
    """The best of several large products, and of adding up a large tensor, in the model's dtype."""
    gpu = args.device.startswith("cuda")
    dtype = torch.bfloat16 if gpu else torch.float32
    side = 8192 if gpu else 768
    a = torch.randn(side, side, device=args.device, dtype=dtype)
    b = torch.randn(side, side, device=args.device, dtype=dtype)
    best = min(timed(lambda: a @ b, args.device) for _ in range(8))
    long = torch.empty((2**32 if gpu else 2**27) // a.itemsize, device=args.device, dtype=dtype)
    long.fill_(1)
    matrix = long.view(-1, 4096)
    vector = long[:4096]
    reading = min(timed(lambda: matrix @ vector, args.device) for _ in range(8))
    return Ceilings(2 * side**3 / best * 1000, long.nbytes / reading * 1000)


def flops_of(work: Callable[[], Any]) -> int:
    """Floating-point operations of products, convolutions and attention in one call."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def report(name: str, args: argparse.Namespace, cases: list[Case], found: Ceilings | None) -> None:
    """Print the table, write `NAME.json` (`NAME-small.json`)."""
    print(f"\n{name} on {hardware(args.device)}{', small' if args.small else ''}")
    if found is not None:
        print(
            f"ceilings of this run: {found.flops / 1e12:.2f} TFLOP/s, "
            f"{found.bytes_per_s / 1e9:.0f} GB/s"
        )
    print(f"{'':38}{'ours':>10}{'stock':>10}{'floor':>10}{'reached':>9}")
    for case in cases:
        print(
            f"{case.name:38}{_number(case.ours)}{_number(case.stock)}{_number(case.floor)}"
            f"{_share(case.reached)} {case.unit}"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    kind = "cpu" if args.device == "cpu" else hardware(args.device).replace(" ", "-").lower()
    path = args.out / f"{name}-{kind}{'-small' if args.small else ''}.json"
    values = {
        "benchmark": name,
        **facts(args.device),
        "ceilings": None if found is None else asdict(found),
        "cases": [{**asdict(case), "reached": case.reached} for case in cases],
    }
    path.write_text(json.dumps(values, indent=1) + "\n")
    print(f"-> {path}")


def facts(device: str) -> dict[str, str]:
    """What a figure is worth nothing without; the load tells what else ran (2 on 2 cores: full)."""
    return {
        "hardware": hardware(device),
        "torch": torch.__version__,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "load_average": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
    }


def share(above: Sequence[int], below: Sequence[int], resamples: int = 2000) -> list[float]:
    """A share over clusters (scenes, clips), and the ends of its 95 % interval by bootstrap over them."""
    tops, bottoms = np.array(above), np.array(below)
    drawn = np.random.default_rng(0).integers(len(tops), size=(resamples, len(tops)))
    shares = tops[drawn].sum(1) / np.maximum(bottoms[drawn].sum(1), 1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return [float(tops.sum() / max(bottoms.sum(), 1)), float(low), float(high)]


def weights_of(model: str) -> str:
    """A fingerprint of a model folder's weights ("starter": the bundled one's): what was measured."""
    from videollama2.assistant import resolve

    digest = hashlib.sha256()
    for file in sorted(Path(resolve(model)).glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def resumed(file: Path, settings: dict[str, Any], empty: dict[str, Any]) -> dict[str, Any]:
    """What a result file holds, where it was measured with these settings; else `empty` with them."""
    if file.exists():
        values: dict[str, Any] = json.loads(file.read_text())
        if values["settings"] == settings:
            return values
    return {"settings": settings, **empty}


def hardware(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    names = [
        line.partition(":")[2].strip()
        for line in _lines("/proc/cpuinfo")
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _number(value: float | None) -> str:
    return f"{'-':>10}" if value is None else f"{value:10.2f}"


def _share(value: float | None) -> str:
    return f"{'-':>9}" if value is None else f"{value:9.0%}"
