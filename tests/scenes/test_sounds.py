from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from videollama2.scenes import Heard, Scene, Staging, World, render_sound


def test_form(world: World, scenes: list[Scene]) -> None:
    for scene in scenes[:50]:
        track = render_sound(scene, world)
        assert track.shape == (64_000,)
        assert track.dtype == np.float32
        assert np.abs(track).max() <= 1
        assert np.array_equal(track, render_sound(scene, world))


def test_without_sounds_only_hiss(world: World, scenes: list[Scene]) -> None:
    for scene in scenes[:20]:
        track = render_sound(replace(scene, sounds=(), staging=Staging()), world)
        assert track.std() == pytest.approx(scene.hiss * scene.loudness, rel=0.02)


def test_a_sound_is_heard_when_it_should_be(world: World, scenes: list[Scene]) -> None:
    for scene in scenes[:80]:
        quiet = replace(scene, hiss=0.0, staging=Staging())
        track = np.abs(render_sound(quiet, world)).reshape(-1, 160).max(1)  # every 10 ms
        middle = (np.arange(track.size) + 0.5) / 100
        inside = np.zeros(track.size, bool)
        for sound in scene.sounds:
            inside |= (middle > sound.onset_s - 0.01) & (middle < sound.end_s + 0.01)
            starts = track[(middle > sound.onset_s) & (middle < sound.onset_s + 0.2)]
            assert starts.max() > 0.005
        assert track[~inside].max(initial=0) == 0


def test_each_sound_is_that_of_its_thing(world: World, scenes: list[Scene]) -> None:
    """Whose spectrum fits best, among all notes of the world, tells who it was."""
    spectra = np.abs(np.fft.rfft(world.notes[:, :, :4000], axis=2))
    spectra /= np.linalg.norm(spectra, axis=2, keepdims=True)
    for index, name in enumerate(world.sounding):
        for note in range(5):
            sound = Heard(name, 1.0, 1.0, (note, note), 0.8)
            scene = replace(scenes[0], sounds=(sound,), hiss=0.0005, loudness=1.0)
            scene = replace(scene, staging=Staging())
            piece = render_sound(scene, world)[16_000:20_000]
            fit = spectra @ np.abs(np.fft.rfft(piece))
            assert np.unravel_index(fit.argmax(), fit.shape) == (index, note)
