"""Time to read 16 frames: ours beside PyAV's plain seeking and, where installed, other decoders.

    python benchmarks/read_video.py [CLIP ...] [--repeats 3]

Without CLIP a ten-minute 1080p30 H.264 clip (a picture every 250 frames stands alone) with AAC is made
in a temporary folder first, which takes some minutes. Decoders take turns in each round, so that a noisy
machine is noisy for all; quote the medians and their ratios. Each decoder runs in a process of its own,
which reports seconds on the clock, seconds of processor (less shaken by what else runs), and the growth of
its memory.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from clips import make_clip

FRAMES = 16


def ours(path: str) -> int:
    from videollama2.media.video import read_video

    return len(read_video(path, num_frames=FRAMES).frames)


def pyav_seek(path: str) -> int:
    import av

    from videollama2.media.sampling import uniform_indices

    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = stream.average_rate
        read = 0
        for index in uniform_indices(stream.frames, FRAMES):
            target = round(index / rate / stream.time_base) + (stream.start_time or 0)
            container.seek(target, stream=stream)
            for frame in container.decode(stream):
                if frame.pts >= target:
                    frame.to_ndarray(format="rgb24")
                    read += 1
                    break
    return read


def torchcodec(path: str) -> int:
    from torchcodec.decoders import VideoDecoder

    from videollama2.media.sampling import uniform_indices

    decoder = VideoDecoder(path)
    return len(decoder.get_frames_at(uniform_indices(len(decoder), FRAMES)).data)


def decord(path: str) -> int:
    from decord import VideoReader

    from videollama2.media.sampling import uniform_indices

    reader = VideoReader(path)
    return len(reader.get_batch(uniform_indices(len(reader), FRAMES)).asnumpy())


DECODERS: dict[str, Callable[[str], int]] = {
    "ours": ours,
    "PyAV, plain seeking": pyav_seek,
    "torchcodec": torchcodec,
    "decord": decord,
}


def measure(name: str, path: str) -> None:
    """In a process of its own: one JSON line with seconds and MB."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    frames = DECODERS[name](path)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    if frames != FRAMES:
        raise SystemExit(f"{name} read {frames} frames of {path}")
    measured = {
        "seconds": seconds,
        "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "megabytes": (after.ru_maxrss - before.ru_maxrss) / 1024,
    }
    print(json.dumps(measured))


def compare(path: str, repeats: int) -> None:
    """Print one line a decoder: median seconds, ratio to ours, memory."""
    results: dict[str, list[dict[str, float]]] = {}
    missing: list[str] = []
    for _ in range(repeats):
        for name in DECODERS:
            if name in missing:
                continue
            command = [sys.executable, __file__, "--measure", name, path]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                missing.append(name)
                print(f"{name}: left out ({(done.stderr.strip().splitlines() or ['?'])[-1]})")
                continue
            results.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{path} on {platform.processor() or platform.machine()}, {repeats} rounds")
    middle = {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for name, rows in results.items()
    }
    ours = middle["ours"]
    for name, row in middle.items():
        print(
            f"  {name:<22}{row['seconds']:8.2f} s  ours / it {ours['seconds'] / row['seconds']:5.2f}"
            f"   processor {row['processor']:7.2f} s  {ours['processor'] / row['processor']:5.2f}"
            f"   +{row['megabytes']:6.0f} MB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="*")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(*arguments.measure)
        return
    if arguments.clips:
        for clip in arguments.clips:
            compare(clip, arguments.repeats)
        return
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "long.mp4"
        make_clip(clip, 1920, 1080, 600, preset="ultrafast")
        compare(str(clip), arguments.repeats)


if __name__ == "__main__":
    main()
