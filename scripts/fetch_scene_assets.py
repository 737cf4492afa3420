"""Fetch the pictures and notes of the made world and pack them into one file.

Needs, once: `npm` (Node.js) for the pictures, and the Debian/Ubuntu packages `fluidsynth` and
`fluid-soundfont-gm` for the notes:

    apt-get install fluidsynth fluid-soundfont-gm
    python scripts/fetch_scene_assets.py            # starter-assets/world.npz: 60 things, 14 sounds
    python scripts/fetch_scene_assets.py --larger   # starter-assets/larger.npz: 265 and 28

The packed file is never committed; NOTICE says where its contents come from.
"""

from __future__ import annotations

import argparse
import io
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import wave
from pathlib import Path

import numpy as np
from PIL import Image

from videollama2.scenes.larger import LARGER_INSTRUMENTS, LARGER_THINGS
from videollama2.scenes.names import INSTRUMENTS, THINGS, Instrument
from videollama2.scenes.world import NOTE_SAMPLES, SAMPLING_RATE, SPRITE_PIXELS, pack_world

PICTURES = "@lobehub/fluent-emoji-3d@1.1.0"
SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
RENDER_RATE = 48_000
NOTE_TICKS = 960  # one second at 480 ticks a beat and 120 beats a minute


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="default: starter-assets/world.npz or larger.npz")
    parser.add_argument("--larger", action="store_true", help="265 things and 28 sounds")
    parser.add_argument("--pictures", type=Path, help="an already packed .tgz of the pictures")
    parser.add_argument("--sound-font", type=Path, default=SOUND_FONT)
    arguments = parser.parse_args()
    things = LARGER_THINGS if arguments.larger else THINGS
    instruments = LARGER_INSTRUMENTS if arguments.larger else INSTRUMENTS
    named = Path("starter-assets") / ("larger.npz" if arguments.larger else "world.npz")
    out = arguments.out or named
    for tool in ("fluidsynth", *(() if arguments.pictures else ("npm",))):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: install it first (see the top of this script)")
    if not arguments.sound_font.exists():
        sys.exit(f"{arguments.sound_font} is missing: install fluid-soundfont-gm")
    with tempfile.TemporaryDirectory() as folder:
        archive = arguments.pictures or fetch_pictures(Path(folder))
        sprites = read_sprites(archive, things)
        notes = np.stack(
            [
                render_notes(instrument, arguments.sound_font, Path(folder))
                for instrument in instruments.values()
            ]
        )
    pack_world(out, tuple(things), sprites, tuple(instruments), notes)
    print(
        f"{out}: {len(things)} things, {len(instruments)} of them sounding, "
        f"{out.stat().st_size / 2**20:.1f} MiB"
    )


def fetch_pictures(folder: Path) -> Path:
    """Let npm fetch the package of pictures; nothing in it is run."""
    subprocess.run(
        ["npm", "pack", "--silent", PICTURES], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    return next(folder.glob("*.tgz"))


def read_sprites(archive: Path, things: dict[str, str]) -> np.ndarray:
    """The pictures of all things as (things, 48, 48, 4) uint8, in their order."""
    sprites = np.zeros((len(things), SPRITE_PIXELS, SPRITE_PIXELS, 4), np.uint8)
    with tarfile.open(archive) as package:
        members = {Path(member.name).stem: member for member in package.getmembers()}
        for index, (name, code) in enumerate(things.items()):
            member = members.get(code) or members.get(f"{code}-fe0f")
            stream = package.extractfile(member) if member else None
            if stream is None:
                sys.exit(f"the package of pictures has no {code} ({name})")
            image = Image.open(io.BytesIO(stream.read())).convert("RGBA")
            box = image.getchannel("A").point(lambda alpha: 255 if alpha > 8 else 0).getbbox()
            side = max(box[2] - box[0], box[3] - box[1])
            square = Image.new("RGBA", (side, side))
            cropped = image.crop(box)
            square.paste(cropped, ((side - cropped.width) // 2, (side - cropped.height) // 2))
            small = square.convert("RGBa").resize((SPRITE_PIXELS,) * 2, Image.Resampling.LANCZOS)
            sprites[index] = np.asarray(small.convert("RGBA"))
    return sprites


def render_notes(instrument: Instrument, sound_font: Path, folder: Path) -> np.ndarray:
    """Five notes as (5, samples) int16 at 16 kHz, each of the same loudness."""
    notes = []
    for key in instrument.keys:
        midi, wav = folder / "note.mid", folder / "note.wav"
        midi.write_bytes(midi_file(instrument, key))
        subprocess.run(
            [
                "fluidsynth",
                "-ni",
                "-q",
                "-R",
                "0",
                "-C",
                "0",
                "-g",
                "0.8",
                "-r",
                str(RENDER_RATE),
                "-F",
                str(wav),
                str(sound_font),
                str(midi),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        notes.append(finish_note(read_wave(wav), instrument.skip_s))
    return np.stack(notes)


def midi_file(instrument: Instrument, key: int) -> bytes:
    """A MIDI file of one key, struck `strikes` times within 0.8 s."""
    channel = 9 if instrument.drum_kit else 0
    track = bytes([0, 0xC0 | channel, instrument.program])
    length = int(NOTE_TICKS * 0.8) // instrument.strikes
    for _ in range(instrument.strikes):
        track += bytes([0, 0x90 | channel, key, 110])
        track += variable_length(length) + bytes([0x80 | channel, key, 0])
    track += variable_length(NOTE_TICKS) + bytes([0xFF, 0x2F, 0])
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480)
    return header + b"MTrk" + struct.pack(">I", len(track)) + track


def variable_length(value: int) -> bytes:
    """A number in MIDI's seven bits a byte."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(0x80 | (value & 0x7F))
    return bytes(reversed(parts))


def read_wave(path: Path) -> np.ndarray:
    """A 16-bit wave file, mixed down, as float samples at RENDER_RATE."""
    with wave.open(str(path)) as stream:
        samples = np.frombuffer(stream.readframes(stream.getnframes()), "<i2")
        return samples.reshape(-1, stream.getnchannels()).mean(1) / 32768


def finish_note(samples: np.ndarray, skip_s: float) -> np.ndarray:
    """Low-pass, take every third sample, cut leading silence, level, fade, 16 bits."""
    taps = np.arange(-96, 97)
    kernel = np.sinc(taps * 0.31) * np.hamming(taps.size)
    low = np.convolve(samples, kernel / kernel.sum(), "same")[::3]
    loud = np.flatnonzero(np.abs(low) > 0.02 * np.abs(low).max())
    start = max(int(loud[0]) - 32, 0) + int(skip_s * SAMPLING_RATE)
    note = np.zeros(NOTE_SAMPLES)
    piece = low[start : start + NOTE_SAMPLES]
    note[: piece.size] = piece
    level = 0.12 / max(np.sqrt(np.mean(note**2)), 1e-4)
    note *= min(level, 0.9 / np.abs(note).max())
    note[:32] *= np.linspace(0, 1, 32)
    note[-400:] *= np.linspace(1, 0, 400)
    return np.round(note * 32767).astype(np.int16)


if __name__ == "__main__":
    main()
