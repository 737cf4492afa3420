"""Clips a second from file to the encoders' inputs, two processes at a time.

    python benchmarks/read.py [CLIP ...] [--small] [--processes 2]

Ours is `media/` and `processing/`: 16 frames of 384 px and 30 s of sound. Stock is transformers' own
reading of a video (`load_video`, PyAV) with its SigLIP image processor, sound left out. "decord, Pillow" is
how the released code reads and resizes, its sound left out too (decord or decord2 has to be there).
Ours is measured with and without sound. Without CLIP, one minute of 720p is made first.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np

FRAMES = 16
_state: dict[str, Any] = {}


def ours(path: str, sound: bool) -> int:
    from videollama2.processing.loader import MediaLoader
    from videollama2.processing.parts import VideoInput

    settings = _settings()
    if "loader" not in _state:
        _state["loader"] = MediaLoader(settings, settings, FRAMES, has_audio=True)
    loaded = _state["loader"].load(VideoInput(path, sound=None if sound else False))
    return len(loaded.pixels)


def stock(path: str) -> int:
    from transformers.video_utils import load_video

    def sample(metadata: Any, **_: Any) -> np.ndarray:
        return np.linspace(0, metadata.total_num_frames - 1, FRAMES).astype(int)

    frames, _ = load_video(path, backend="pyav", sample_indices_fn=sample)
    return len(_image_processor()(list(frames), return_tensors="pt")["pixel_values"])


def decord(path: str) -> int:
    from decord import VideoReader

    reader = VideoReader(path, num_threads=1)
    places = np.linspace(0, len(reader) - 1, FRAMES).astype(int)
    frames = reader.get_batch(places).asnumpy()
    return len(_image_processor()(list(frames), return_tensors="pt")["pixel_values"])


def _settings() -> Any:
    from videollama2.processing.image_processor import DEFAULT_SETTINGS

    return DEFAULT_SETTINGS


def _image_processor() -> Any:
    if "processor" not in _state:
        try:
            from transformers import SiglipImageProcessorPil as Processor  # Pillow, as ever
        except ImportError:
            from transformers import SiglipImageProcessor as Processor
        size = {"height": 384, "width": 384}
        mean = [0.5, 0.5, 0.5]
        _state["processor"] = Processor(size=size, resample=3, image_mean=mean, image_std=mean)
    return _state["processor"]


READERS = {
    "ours": lambda path: ours(path, sound=True),
    "ours, without sound": lambda path: ours(path, sound=False),
    "transformers": stock,
    "decord, Pillow": decord,
}


def read(job: tuple[str, str]) -> int:
    """One clip by one reader, in a process of the pool."""
    import torch

    torch.set_num_threads(1)
    name, path = job
    return READERS[name](path)


def available(name: str, path: str, pool: Any) -> bool:
    try:
        frames = pool.apply(read, ((name, path),))
    except Exception as error:  # noqa: BLE001  (of any library: it is named and left out)
        print(f"{name}: left out ({str(error).splitlines()[0]})")
        return False
    if frames != FRAMES:
        raise SystemExit(f"{name} read {frames} frames of {path}")
    return True


def make_clip(path: Path, args: argparse.Namespace) -> None:
    """Moving texture and a tone; a keyframe every 250 frames, as encoders do by themselves."""
    import av

    width, height, seconds = (160, 120, 3) if args.small else (1280, 720, 60)
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    texture = texture.repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.options = {"preset": "ultrafast", "g": "250", "crf": "28"}
        audio = container.add_stream("aac", rate=44100)
        audio.layout = "mono"
        for index in range(seconds * 30):
            picture = np.roll(texture, (index % height, 2 * index % width), (0, 1))
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        for second in range(seconds):
            tone = np.sin(np.arange(44100) * 0.06).astype(np.float32)[None] * 0.3
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, second * 44100
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


def main() -> None:
    made = common.parser(__doc__)
    made.add_argument("clips", nargs="*", type=Path)
    made.add_argument("--processes", type=int, default=2)
    args = made.parse_args()
    args.device = "cpu"
    with tempfile.TemporaryDirectory() as scratch:
        if not args.clips:
            args.clips = [Path(scratch) / "clip.mp4"]
            make_clip(args.clips[0], args)
        paths = [str(path) for path in args.clips]
        context = multiprocessing.get_context("spawn")
        with context.Pool(args.processes) as pool:
            names = [name for name in READERS if available(name, paths[0], pool)]
            times: dict[str, list[float]] = {name: [] for name in names}
            for round_ in range(1 + common.rounds(args)):  # the first warms every process up
                for name in names:
                    jobs = [(name, path) for path in paths * (1 if len(paths) > 1 else 2)]
                    jobs *= args.processes if len(jobs) < 8 else 1
                    began = time.perf_counter()
                    pool.map(read, jobs, chunksize=1)
                    if round_:
                        times[name].append(len(jobs) / (time.perf_counter() - began))
    rates = {name: sorted(each)[len(each) // 2] for name, each in times.items()}
    note = {"processes": args.processes, "clips": len(paths), "stock_has_sound": False}
    cases = [
        common.Case(
            f"{name}, beside {other}", rates[name], rates[other], unit="clips/s", notes=note
        )
        for name in names[:2]
        for other in names[2:]
    ]
    common.report("read", args, cases, None)


if __name__ == "__main__":
    main()
