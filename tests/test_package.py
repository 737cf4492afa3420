"""The package as a whole: what importing it costs, and its public names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import videollama2

HEAVY = ("torch", "transformers", "av", "numpy", "PIL", "gradio", "fastapi")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_is_light() -> None:
    loaded = run("import sys, videollama2; print([n for n in sys.modules])")
    assert not [name for name in HEAVY if repr(name) in loaded]


def test_light_names_are_light() -> None:
    loaded = run(
        "import sys\n"
        "from videollama2 import Answer, CheckpointError, MediaError, Request, SamplingSettings\n"
        "print([n for n in sys.modules])"
    )
    assert not [name for name in ("torch", "transformers", "av") if repr(name) in loaded]


def test_every_public_name_is_there() -> None:
    for name in videollama2.__all__:
        assert getattr(videollama2, name) is not None
        assert name in dir(videollama2)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        videollama2.Nothing  # noqa: B018  (the lookup is the test)


def test_prepared_tensors_need_no_decoder() -> None:
    """GPU images often lack PyAV: only reading files needs it."""
    run(
        "import sys\n"
        "sys.modules['av'] = None\n"
        "import videollama2\n"
        "from videollama2 import VideoLlama2, VideoLlama2Processor, mm_infer\n"
        "import videollama2.generation.writing, videollama2.checkpoints.load\n"
    )


def test_auto_classes_find_our_model_and_released_ones(tiny_folder: Path, recorded: Path) -> None:
    import transformers

    from videollama2 import VideoLlama2Config, VideoLlama2ForConditionalGeneration

    for name in ("AutoModelForMultimodalLM", "AutoModelForImageTextToText"):
        auto = getattr(transformers, name, None)
        if auto is None:
            continue
        model = auto.from_pretrained(tiny_folder)
        assert type(model) is VideoLlama2ForConditionalGeneration
    processor = transformers.AutoProcessor.from_pretrained(tiny_folder)
    assert type(processor).__name__ == "VideoLlama2Processor"
    folders = [path.parent for path in recorded.glob("*/config.json")]
    released = [folder for folder in folders if (folder / "expected.safetensors").is_file()]
    assert released
    for folder in released:
        config = transformers.AutoConfig.from_pretrained(folder)
        assert type(config) is VideoLlama2Config
        assert config.media_mode == "released"
