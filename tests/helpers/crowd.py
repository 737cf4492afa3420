"""A folder of clips to caption, good, broken and odd."""

from __future__ import annotations

from pathlib import Path

import clips

GOOD = ("a.mp4", "b/c.mp4", "silent.mp4", "picture.png", "tone.wav")
BAD = ("broken.mp4", "empty.mp4")


def make(folder: Path) -> Path:
    (folder / "b").mkdir()
    clips.write_video(folder / "a.mp4")
    clips.write_video(folder / "b/c.mp4", seed=1)
    clips.write_video(folder / "silent.mp4", sound=False, seed=2)
    clips.Image.fromarray(clips.frames(1, seed=3)[0]).save(folder / "picture.png")
    clips.write_wav(folder / "tone.wav")
    (folder / "broken.mp4").write_bytes((folder / "a.mp4").read_bytes()[:900])
    (folder / "empty.mp4").write_bytes(b"")
    return folder


def many(crowd: Path, folder: Path, count: int) -> Path:
    """A folder of `count` clips, two different ones in turn."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03}.mp4").symlink_to(crowd / ("a.mp4" if number % 2 else "b/c.mp4"))
    return folder
