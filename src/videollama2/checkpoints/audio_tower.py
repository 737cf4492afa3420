"""The audio tower alone, out of an original BEATs file: for use in someone else's model."""

import os
from pathlib import Path

import torch

from videollama2.checkpoints.beats_file import beats_config_of, read_beats_cfg
from videollama2.checkpoints.fit import fit
from videollama2.checkpoints.gather import read_audio_tower
from videollama2.checkpoints.modules import tensors_held
from videollama2.checkpoints.unused import check_twins, twin_of
from videollama2.model.beats import Beats
from videollama2.model.config import BeatsConfig
from videollama2.model.hearing import beats_from_config

_PREFIX = "model.audio_tower."


def load_beats(
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Beats:
    """The encoder of an original `.pt`, or of a training stage's `audio_tower.bin`, to listen with.

    Raises:
        CheckpointError: the file is damaged, built otherwise, or its parameters do not fit.
    """
    file = Path(path)
    fields = beats_config_of(read_beats_cfg(file), file) if file.suffix == ".pt" else {}
    tower = beats_from_config(BeatsConfig(**fields)).to(device, dtype)
    places = {_PREFIX + held.name: held.value for held in tensors_held(tower)}
    stored = read_audio_tower(file)
    shapes = {name: tuple(value.shape) for name, value in places.items()}
    fitted = fit(shapes, stored, lambda name, _: twin_of(name) is not None)
    fitted.check(file, lambda name: name.removeprefix(_PREFIX))
    check_twins(fitted.unused, stored)
    with torch.no_grad():
        for name, pieces in fitted.pieces.items():
            pieces[0].stored.read_into(places[name].data)
    return tower.eval()
