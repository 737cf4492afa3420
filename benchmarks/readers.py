"""The readers that `read.py` measures: each makes 16 frames of 384 px, and sound where its name says so.

| reader | what it does |
| --- | --- |
| ours | `media/` and `processing/`: frames, and up to 30 s of sound as it is, not padded |
| ours, as released | the same frames; sound as the released code hears it (see "released") |
| ours, without sound | frames alone |
| transformers | `load_video` (PyAV, decodes the whole clip), its SigLIP image processor; no sound |
| transformers, with sound | and `load_audio` (torchcodec: an MP4's sound, 16 kHz mono), the first 30 s through its \
AST feature extractor (128 bands, not padded, not normalised: what ours gives) |
| transformers, with sound, our bank | the same with our filter bank for its own, which is slow where torchaudio is \
missing |
| released | frames by decord at the released places, each a Pillow image through the image processor; ffmpeg \
in a process of its own decodes the soundtrack (s16, mono, 16 kHz), of which 8 clips of 2 s are put together \
and padded with zeros to 30 s: those 30 s, mostly padding for short clips, go through Kaldi's filter bank |
| released, without sound | its frames alone |
| decord, Pillow | frames by decord in equal steps, through the image processor; no sound |
| bare decode, bare resize | nothing but decoding ours' frames; nothing but 16 of Pillow's resizes |

The two of the released code are written here after its description. Its filter bank is torchaudio's, which has no
build for every torch: where it cannot be imported, ours takes its place (`filter_bank` in the notes). A reader
whose library is missing is left out.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

FRAMES = 16
RATE, CLIPS, CLIP_S, HEARD_S = 16_000, 8, 2, 30
_state: dict[Any, Any] = {}


def ours(path: str, sound: bool, mode: str = "native") -> int:
    from videollama2.processing.image_processor import DEFAULT_SETTINGS
    from videollama2.processing.loader import MediaLoader
    from videollama2.processing.parts import VideoInput

    if mode not in _state:
        settings = DEFAULT_SETTINGS
        _state[mode] = MediaLoader(settings, settings, FRAMES, mode=mode, has_audio=True)  # type: ignore[arg-type]
    loaded = _state[mode].load(VideoInput(path, sound=None if sound else False))
    return _checked(loaded.pixels, loaded.features if sound else None, sound)


def transformers(path: str, sound: bool, our_bank: bool = False) -> int:
    from transformers.video_utils import load_video

    def sample(metadata: Any, **_: Any) -> np.ndarray:
        return np.linspace(0, metadata.total_num_frames - 1, FRAMES).astype(int)

    frames, _ = load_video(path, backend="pyav", sample_indices_fn=sample)
    pixels = _image_processor()(list(frames), return_tensors="pt")["pixel_values"]
    return _checked(pixels, _heard_by_transformers(path, our_bank) if sound else None, sound)


def _heard_by_transformers(path: str, our_bank: bool) -> torch.Tensor:
    from transformers import ASTFeatureExtractor
    from transformers.audio_utils import load_audio

    if "extractor" not in _state:
        _state["extractor"] = ASTFeatureExtractor(num_mel_bins=128, do_normalize=False)
    waveform = load_audio(path, sampling_rate=RATE)[: HEARD_S * RATE]
    if our_bank:
        from videollama2.processing.fbank import fbank

        return fbank(torch.from_numpy(waveform))
    # Its own default pads to 10 s.
    _state["extractor"].max_length = 1 + (len(waveform) - 400) // 160
    found = _state["extractor"](waveform, sampling_rate=RATE, return_tensors="pt")
    return found["input_values"][0]


def released(path: str, sound: bool) -> int:
    from decord import VideoReader, cpu
    from PIL import Image

    reader = VideoReader(path, ctx=cpu(0), num_threads=1)
    segment = (len(reader) - 1) / FRAMES
    places = [int(np.round(segment * (i + 0.5) + 1e-6)) for i in range(FRAMES)]
    frames = [Image.fromarray(frame) for frame in reader.get_batch(places).asnumpy()]
    pixels = _image_processor()(frames, return_tensors="pt")["pixel_values"]
    return _checked(pixels, _heard_as_released(path) if sound else None, sound)


def _heard_as_released(path: str) -> torch.Tensor:
    command = ["ffmpeg", "-v", "error", "-i", path, "-vn", "-f", "s16le", "-ac", "1"]
    done = subprocess.run([*command, "-ar", str(RATE), "-"], capture_output=True, check=True)
    samples = np.frombuffer(done.stdout, np.int16).astype(np.float32) / 32768.0
    step = max(len(samples) / RATE - CLIP_S, 0) / CLIPS
    starts = [int(i * step * RATE) for i in range(CLIPS)]
    window = np.zeros(HEARD_S * RATE, np.float32)
    clips = np.concatenate([samples[start : start + CLIP_S * RATE] for start in starts])
    window[: len(clips)] = clips
    return _kaldi(torch.from_numpy(window)[None]).to(torch.bfloat16)


def _kaldi(waveform: torch.Tensor) -> torch.Tensor:
    try:
        from torchaudio.compliance import kaldi
    except (ImportError, OSError):
        from videollama2.processing.fbank import fbank

        return fbank(waveform[0])
    options = {"num_mel_bins": 128, "frame_length": 25, "frame_shift": 10}
    return kaldi.fbank(waveform * 2**15, sample_frequency=RATE, **options)


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


def _checked(pixels: torch.Tensor, heard: torch.Tensor | None, sound: bool) -> int:
    """Frames read; raises where a tensor is not the kind that all readers give."""
    if pixels.shape[1:] != (3, 384, 384) or pixels.dtype != torch.float32:
        raise ValueError(f"pixels of {tuple(pixels.shape)}")
    if sound and (heard is None or heard.ndim != 2 or heard.shape[1] != 128):
        raise ValueError("no filter bank of 128 bands")
    return len(pixels)


def versions() -> dict[str, str]:
    """Of the libraries that are read with, and whose filter bank the released arm has."""
    found: dict[str, str] = {}
    for name in ("transformers", "pillow", "av", "torchcodec", "decord2", "decord"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    try:
        from torchaudio.compliance import kaldi
    except (ImportError, OSError):
        return {**found, "filter_bank": "ours"}
    return {**found, "filter_bank": kaldi.__name__}


READERS: dict[str, Callable[[str], int]] = {
    "ours": lambda path: ours(path, sound=True),
    "ours, as released": lambda path: ours(path, sound=True, mode="released"),
    "ours, without sound": lambda path: ours(path, sound=False),
    "transformers": lambda path: transformers(path, sound=False),
    "transformers, with sound": lambda path: transformers(path, sound=True),
    "transformers, with sound, our bank": lambda path: transformers(path, True, our_bank=True),
    "released": lambda path: released(path, sound=True),
    "released, without sound": lambda path: released(path, sound=False),
    "decord, Pillow": decord,
    "bare decode": bare_decode,
    "bare resize": bare_resize,
}
# Ours, what it stands beside, and whether both do the same work.
PAIRS = (
    ("ours", "transformers, with sound", True),
    ("ours", "transformers, with sound, our bank", True),
    ("ours", "transformers", False),
    ("ours", "released", False),
    ("ours", "decord, Pillow", False),
    ("ours, as released", "released", True),
    ("ours, without sound", "transformers", True),
    ("ours, without sound", "released, without sound", True),
    ("ours, without sound", "decord, Pillow", True),
)
