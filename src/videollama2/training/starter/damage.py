"""What being a file does to pictures and sound: the losses that a codec leaves behind.

The starter is first taught on clean arrays; a user's clip was compressed, perhaps twice.
"""

import io
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from videollama2.scenes.world import SAMPLING_RATE

SOUND_RATES = (8_000, 16_000, 22_050, 32_000, 44_100, 48_000)
LEAST_BITS_A_SAMPLE, MOST_BITS_A_SAMPLE = 0.7, 2.0
AAC_DELAY_SAMPLES = 1024  # what an AAC encoder puts before the first sample, at its own rate
LEAST_QUALITY, MOST_QUALITY = 20, 85
SMALLEST = 0.6  # of the side that pictures are stored at before they are scaled up again
SMALL_WORDS = (
    *("the", "is", "are", "does", "do", "of", "to", "a", "an", "in", "it", "that", "be"),
    *("me", "please"),
)
ALIKE = (
    ("thing", "object", "item"),
    ("things", "objects", "items"),
    ("clip", "video", "scene"),
    ("which", "what"),
    ("shown", "seen", "visible"),
    ("begin", "start"),
)
_ALIKE = {word: group for group in ALIKE for word in group}
DROPPED, SWAPPED = 0.2, 0.3


def damage_sound(waveform: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Through AAC at a random rate of 8 to 48 kHz and few bits, and back: (samples,) at 16 kHz."""
    rate = int(rng.choice(SOUND_RATES))
    share = rng.uniform(LEAST_BITS_A_SAMPLE, MOST_BITS_A_SAMPLE)
    bits = int(min(rate * share, 64_000))
    decoded = decode_aac(encode_aac(waveform, rate, bits))
    skip = AAC_DELAY_SAMPLES * SAMPLING_RATE // rate
    kept = decoded[skip : skip + waveform.size]
    return np.pad(kept, (0, waveform.size - kept.size)).astype(np.float32)


def encode_aac(waveform: NDArray[np.float32], rate: int, bits: int) -> bytes:
    """Mono sound at 16 kHz as an AAC stream at `rate` Hz and about `bits` bits a second."""
    samples = np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16)
    stored = io.BytesIO()
    untyped: Any = av.open(stored, "w", format="adts")
    with untyped as container:
        stream = container.add_stream("aac", rate=rate, options={"aac_coder": "fast"})
        stream.layout, stream.bit_rate = "mono", bits
        sound = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts = SAMPLING_RATE, 0
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
        for piece in [*resampler.resample(sound), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return stored.getvalue()


def decode_aac(stream: bytes) -> NDArray[np.float32]:
    """The samples of an AAC stream, mono at 16 kHz, with the encoder's delay before them."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLING_RATE)
    untyped: Any = av.open(io.BytesIO(stream))
    with untyped as container:
        frames = [*container.decode(audio=0), None]
        pieces = [piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame)]
    return np.concatenate(pieces).astype(np.float32)


def damage_frames(frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Stored smaller and as JPEG of some quality, (T, H, W, 3) as it came: near H.264's losses.

    Both code blocks of a cosine transform and colour at half the resolution; this one is at hand
    for single pictures.
    """
    height, width = frames.shape[1:3]
    quality = int(rng.integers(LEAST_QUALITY, MOST_QUALITY))
    scale = rng.uniform(SMALLEST, 1.0) if rng.random() < 0.5 else 1.0
    small = (max(round(width * scale), 16), max(round(height * scale), 16))
    return np.stack([_stored(frame, quality, small) for frame in frames])


def _stored(frame: NDArray[np.uint8], quality: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    stored = io.BytesIO()
    Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC).save(
        stored, "JPEG", quality=quality
    )
    height, width = frame.shape[:2]
    return np.asarray(Image.open(stored).resize((width, height), Image.Resampling.BICUBIC))


def damage_words(text: str, rng: np.random.Generator) -> str:
    """A question as someone else might word it: small words left out, words for their like.

    What is left carries the meaning, so wordings never trained on are met half way.
    """
    words: list[str] = []
    for written in text.split():
        word = written.strip(".,:?").lower()
        if word in SMALL_WORDS and rng.random() < DROPPED:
            continue
        if word in _ALIKE and rng.random() < SWAPPED:
            group = _ALIKE[word]
            written = written.lower().replace(word, group[int(rng.integers(len(group)))])
        words.append(written)
    return " ".join(words)
