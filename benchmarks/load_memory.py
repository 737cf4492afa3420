"""Peak memory of loading a random released checkpoint, in multiples of its weights.

    python benchmarks/load_memory.py [--gigabytes 2.2] [--dtype bfloat16] [--formats safetensors]

Writes checkpoints of random numbers (a Mistral of the asked size with the released CLIP tower and
connector types) to a temporary folder, loads each in a process of its own and prints one JSON line
a format: bytes of weights, the process's resident memory before and its highest during the load.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BASE = {
    "model_type": "videollama2_mistral",
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 7168,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
    "mm_hidden_size": 1024,
    "mm_projector_type": "stc_connector",
    "mm_vision_select_feature": "patch",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "openai/clip-vit-large-patch14-336",
    "num_frames": 8,
}
SHARD_BYTES = 1_000_000_000
PER_LAYER = 2048 * (2048 * 2 + 512 * 2) + 3 * 2048 * 7168
FIXED = 560_000_000  # parameters of tower, connector and embeddings at this width
FIXED_SMALL = 40_000_000
TOWER_FOLDER = "clip-three-layers"


def write_checkpoint(folder: Path, args: argparse.Namespace) -> None:
    import torch

    from videollama2.checkpoints.layouts import KNOWN_TOWERS, to_released, upgrade_config
    from videollama2.checkpoints.load import empty_model
    from videollama2.model.config import VideoLlama2Config

    kind = args.formats[0]
    element = getattr(torch, args.dtype)
    small = {"mm_projector_type": "linear", "vocab_size": 1000} if args.small_tower else {}
    fixed = FIXED_SMALL if args.small_tower else FIXED
    layers = max(1, int((args.gigabytes * 1e9 / element.itemsize - fixed) // PER_LAYER))
    config = {**BASE, **small, "num_hidden_layers": layers, "torch_dtype": args.dtype}
    if args.small_tower:
        folder.mkdir(parents=True)
        config["mm_vision_tower"] = TOWER_FOLDER
        (folder / TOWER_FOLDER).mkdir()
        tower = {**KNOWN_TOWERS["clip-vit-large-patch14-336"], "num_hidden_layers": 3}
        (folder / TOWER_FOLDER / "config.json").write_text(json.dumps(tower))
    model = empty_model(VideoLlama2Config.from_dict(upgrade_config(config, folder)))
    shapes = {to_released(n): p.shape for n, p in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    weight_map = {}
    name_of = "model-{}.safetensors" if kind == "safetensors" else "pytorch_model-{}.bin"
    noise = torch.randn(1 << 20).mul_(0.02).to(element)
    for name, shape in shapes.items():
        count = shape.numel()
        tensor = noise.repeat(-(-count // len(noise)))[:count].clone().view(shape)
        if shards[-1] and size + tensor.nbytes > SHARD_BYTES:
            save(shards[-1], folder / name_of.format(len(shards)), kind)
            shards[-1] = {}
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        weight_map[name] = name_of.format(len(shards))
        size += tensor.nbytes
    save(shards[-1], folder / name_of.format(len(shards)), kind)
    index = "model.safetensors" if kind == "safetensors" else "pytorch_model.bin"
    (folder / f"{index}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def save(tensors: dict, path: Path, kind: str) -> None:
    import torch
    from safetensors.torch import save_file

    if kind == "safetensors":
        save_file(tensors, path, metadata={"format": "pt"})
    else:
        torch.save(tensors, path)


def resident(field: str) -> int:
    """VmRSS (now) or VmHWM (highest) of this process in bytes; highest only where /proc is not."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def measure(folder: Path, dtype: str | None) -> dict:
    from videollama2.checkpoints.load import load_model

    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest counts from here
    start = time.perf_counter()
    model = load_model(folder, dtype=dtype)
    seconds = time.perf_counter() - start
    weights = sum(p.nbytes for p in model.state_dict().values())
    peak = resident("VmHWM") - before
    return {
        "weights_bytes": weights,
        "baseline_bytes": before,
        "peak_above_baseline_bytes": peak,
        "ratio": round(peak / weights, 4),
        "seconds": round(seconds, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.2)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--load-dtype")
    parser.add_argument("--small-tower", action="store_true", help="three layers, linear connector")
    parser.add_argument("--formats", nargs="+", default=["safetensors", "bin"])
    parser.add_argument("--measure", type=Path, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        for folder in args.measure:
            print(json.dumps(measure(folder, args.load_dtype)))
        return
    if args.write:
        write_checkpoint(args.write, args)
        return
    me = [sys.executable, __file__]
    for kind in args.formats:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / kind
            size = ["--gigabytes", str(args.gigabytes), "--dtype", args.dtype, "--formats", kind]
            size += ["--small-tower"] if args.small_tower else []
            subprocess.run([*me, "--write", str(folder), *size], check=True)
            load = [*me, "--measure", str(folder)]
            if args.load_dtype:
                load += ["--load-dtype", args.load_dtype]
            done = subprocess.run(load, check=True, capture_output=True, text=True)
            print(json.dumps({"format": kind, **json.loads(done.stdout.splitlines()[-1])}))


if __name__ == "__main__":
    main()
