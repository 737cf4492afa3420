"""Clips a second from file to the encoders' inputs, two processes at a time.

    python benchmarks/read.py [CLIP ...] [--made 640x360x60 ...] [--small] [--processes 2]

Ours is `media/` and `processing/`: 16 frames of 384 px and 30 s of sound. Stock is transformers' own
reading of a video (`load_video`, PyAV) with its SigLIP image processor, sound left out. "decord, Pillow" is
how the released code reads and resizes, its sound left out too (decord or decord2 has to be there).
Ours is measured with and without sound. The floor is decoding the same frames and doing nothing with them,
and Pillow's resize of 16 pictures alone, each measured by itself. The CLIPs are one group; each `--made`
(width, height, seconds) is another, made first. Without either, one minute of 720p is made.
On a machine that others use, `--clock processor` divides by the seconds of processor that readers took instead
of those that passed: what as many processors as there are processes would read if they did nothing else.
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
_state: dict[Any, Any] = {}


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


def bare_decode(path: str) -> int:
    """The frames that ours decodes, shown to nobody; where they are is known beforehand."""
    from videollama2.media.containers import open_container, read_only, video_stream
    from videollama2.media.decoder import decode_at
    from videollama2.media.limits import DEFAULT_LIMITS
    from videollama2.media.sampling import uniform_indices
    from videollama2.media.source import open_source
    from videollama2.media.timeline import scan

    source = open_source(path)
    if path not in _state:
        with open_container(source, DEFAULT_LIMITS) as container:
            stream = video_stream(container, path, DEFAULT_LIMITS)
            if stream is None:
                raise SystemExit(f"{path} has no pictures")
            read_only(container, stream)
            _state[path] = scan(container, stream, path, DEFAULT_LIMITS)
    timeline = _state[path]
    times = sorted({int(timeline.pts[i]) for i in uniform_indices(timeline.num_frames, FRAMES)})
    list(decode_at(source, timeline, times, DEFAULT_LIMITS))
    return FRAMES


def bare_resize(path: str) -> int:
    """Pillow's part alone, on a picture of the clip."""
    import av

    if (path, "picture") not in _state:
        with av.open(path) as container:
            _state[path, "picture"] = next(container.decode(video=0)).to_image()
    for _ in range(FRAMES):
        _state[path, "picture"].resize((384, 384), 3)
    return FRAMES


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
    "bare decode": bare_decode,
    "bare resize": bare_resize,
}
OURS, STOCK = ("ours", "ours, without sound"), ("transformers", "decord, Pillow")


def read(job: tuple[str, str]) -> tuple[int, float]:
    """One clip by one reader, in a process of the pool: frames, seconds of processor."""
    import torch

    torch.set_num_threads(1)
    name, path = job
    began = time.process_time()
    return READERS[name](path), time.process_time() - began


def available(name: str, path: str, pool: Any) -> bool:
    try:
        frames, _ = pool.apply(read, ((name, path),))
    except Exception as error:  # noqa: BLE001  (of any library: it is named and left out)
        print(f"{name}: left out ({str(error).splitlines()[0]})")
        return False
    if frames != FRAMES:
        raise SystemExit(f"{name} read {frames} frames of {path}")
    return True


def make_clip(path: Path, width: int, height: int, seconds: int) -> None:
    """Moving texture and a tone; a keyframe every 250 frames, as encoders do by themselves."""
    import av

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


def rates_of(paths: list[str], pool: Any, args: argparse.Namespace) -> dict[str, float]:
    """Clips a second by each reader, the median of rounds in which they take turns."""
    names = [name for name in READERS if available(name, paths[0], pool)]
    times: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(1 + common.rounds(args)):  # the first warms every process up
        for name in names:
            jobs = [(name, path) for path in paths] * (args.processes if len(paths) == 1 else 1)
            began = time.perf_counter()
            done = pool.map(read, jobs, chunksize=1)
            passed = time.perf_counter() - began
            if args.clock == "processor":
                passed = sum(seconds for _, seconds in done) / args.processes
            if round_:
                times[name].append(len(jobs) / passed)
    return {name: sorted(each)[len(each) // 2] for name, each in times.items()}


def cases_of(group: str, rates: dict[str, float], note: dict[str, Any]) -> list[common.Case]:
    floor = 1 / (1 / rates["bare decode"] + 1 / rates["bare resize"])
    note = {**note, "bare_decode": rates["bare decode"], "bare_resize": rates["bare resize"]}
    return [
        common.Case(
            f"{group}: {name}, beside {other}",
            rates[name],
            rates[other],
            floor,
            unit="clips/s",
            notes={**note, "stock_has_sound": False, "times_stock": rates[name] / rates[other]},
        )
        for name in OURS
        for other in STOCK
        if other in rates
    ]


def main() -> None:
    made = common.parser(__doc__)
    made.add_argument("clips", nargs="*", type=Path)
    made.add_argument("--made", nargs="*", default=[], metavar="WIDTHxHEIGHTxSECONDS")
    made.add_argument("--processes", type=int, default=2)
    made.add_argument("--clock", choices=("wall", "processor"), default="wall")
    args = made.parse_args()
    args.device = "cpu"
    if not args.clips and not args.made:
        args.made = ["160x120x3"] if args.small else ["1280x720x60"]
    cases: list[common.Case] = []
    with tempfile.TemporaryDirectory() as scratch:
        groups = {"given": [str(path) for path in args.clips]} if args.clips else {}
        for size in args.made:
            path = Path(scratch) / f"{size}.mp4"
            make_clip(path, *(int(number) for number in size.split("x")))
            groups[f"{size} s"] = [str(path)]
        context = multiprocessing.get_context("spawn")
        with context.Pool(args.processes) as pool:
            for group, paths in groups.items():
                rates = rates_of(paths, pool, args)
                note = {"processes": args.processes, "clock": args.clock, "clips": len(paths)}
                cases += cases_of(group, rates, note)
    common.report("read", args, cases, None)


if __name__ == "__main__":
    main()
