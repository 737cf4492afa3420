"""Replies of a reading process that something has taken over."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from videollama2.assistant import VideoLlama2
from videollama2.processing.parts import AudioInput, VideoInput
from videollama2.reading.check import check
from videollama2.reading.pool import ReaderPool
from videollama2.reading.task import ReadTask, answer, unpack


@pytest.fixture(scope="module")
def loader(tiny_folder: Path) -> Any:
    return VideoLlama2.from_pretrained(tiny_folder).processor.loader


def test_a_true_reply_passes(loader: Any, media_folder: Path) -> None:
    for part in (VideoInput(media_folder / "clip.mp4"), AudioInput(media_folder / "tone.wav")):
        for window_s in (None, 0.5):
            reply = unpack(answer(loader, ReadTask(part, window_s)))
            check(reply, part, loader)


@pytest.mark.parametrize(
    "forge",
    [
        lambda r: replace(r, kind="audio"),
        lambda r: replace(r, pixels=None),
        lambda r: replace(r, pixels=r.pixels[0]),
        lambda r: replace(r, pixels=r.pixels[:0]),
        lambda r: replace(r, pixels=r.pixels[..., :-1]),
        lambda r: replace(r, pixels=r.pixels[:, :1]),
        lambda r: replace(r, pixels=r.pixels.long()),
        lambda r: replace(r, pixels=torch.zeros(())),
        lambda r: replace(r, features=r.features[:, 1:]),
        lambda r: replace(r, features=r.features[0]),
        lambda r: replace(r, features=r.features[:0]),
        lambda r: replace(r, features=r.features.bool()),
        lambda r: replace(r, report=replace(r.report, notes=("a",) * 1000)),
    ],
)
def test_a_forged_reply(loader: Any, media_folder: Path, forge: Any) -> None:
    part = VideoInput(media_folder / "clip.mp4")
    reply = unpack(answer(loader, ReadTask(part)))
    with pytest.raises((ValueError, IndexError)):
        check(forge(reply), part, loader)


def test_a_reply_is_never_unpickled(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "run",))

    with pytest.raises(ValueError):
        unpack(pickle.dumps(Hostile()))
    assert not (tmp_path / "run").exists()


def test_a_process_that_has_grown_is_replaced_and_none_is_lost(
    loader: Any, media_folder: Path
) -> None:
    lost: list[int] = []
    pool = ReaderPool(loader, readers=1, on_lost=lambda: lost.append(1))
    task = ReadTask(AudioInput(media_folder / "tone.wav"))
    pool.read(task)
    (first,) = pool._all
    pool.read(task)
    assert pool._all == {first}
    first._most = 0  # as if it held more than it may
    pool.read(task)
    assert not pool._all
    pool.read(task)
    assert first not in pool._all
    assert not lost
    pool.close()
