"""ZeRO by recipe: what DeepSpeed is told, and what is refused before anything begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from videollama2.training import zero
from videollama2.training.errors import TrainingError
from videollama2.training.recipe_file import load_recipe
from videollama2.training.run import train

Settings = Callable[..., list[str]]


@pytest.mark.parametrize(("stage", "devices"), [(2, 1), (3, 8)])
def test_config(stage: int, devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(devices))
    kind = f"parallel.kind=deepspeed_zero{stage}"
    recipe = load_recipe("video_finetune", [kind, "batch.total=256", "optimizer.max_grad_norm=0.5"])
    config = zero.zero_config(recipe, half=True)
    assert config is not None
    assert config["zero_optimization"]["stage"] == stage
    assert config["bf16"] == {"enabled": True}
    assert config["gradient_clipping"] == 0.5
    pieces = config["train_micro_batch_size_per_gpu"] * config["gradient_accumulation_steps"]
    assert pieces * devices == config["train_batch_size"] == 256
    assert "offload_param" not in config["zero_optimization"]
    away = zero.zero_config(load_recipe("lora", [kind, "parallel.cpu_offload=true"]), half=False)
    assert away is not None
    assert away["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert ("offload_param" in away["zero_optimization"]) == (stage == 3)


def test_without() -> None:
    assert zero.zero_config(load_recipe("lora", ["parallel.kind=fsdp2"]), half=True) is None


@pytest.mark.parametrize(
    ("installed", "said"), [(None, r"videollama2\[deepspeed\]"), ("there", "needs GPUs")]
)
def test_refused(
    installed: str | None,
    said: str,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zero, "find_spec", lambda _: installed)
    monkeypatch.setattr(zero, "on_cpu", lambda: True)
    given = settings(tmp_path / "run", "parallel.kind=deepspeed_zero2")
    with pytest.raises(TrainingError, match=said) as caught:
        train(load_recipe("video_finetune", given))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_it_wrote_it_alone_reads(tmp_path: Path) -> None:
    ours, theirs = load_recipe("lora"), load_recipe("lora", ["parallel.kind=deepspeed_zero2"])
    (tmp_path / "rng_state.pth").touch()
    zero.check_goes_on(ours, tmp_path)
    with pytest.raises(TrainingError, match="written without DeepSpeed"):
        zero.check_goes_on(theirs, tmp_path)
    (tmp_path / "global_step4").mkdir()
    zero.check_goes_on(theirs, tmp_path)
    with pytest.raises(TrainingError, match="written with DeepSpeed"):
        zero.check_goes_on(ours, tmp_path)
    (tmp_path / "rng_state_1.pth").touch()
    with pytest.raises(TrainingError, match="in 2 processes"):
        zero.check_goes_on(theirs, tmp_path)


def test_the_same_kinds_of_media() -> None:
    clip, text = ("pixel_values_videos",), ()
    zero.check_alike([[clip, text], [clip, text]])
    with pytest.raises(TrainingError, match=r"say parallel\.kind=fsdp2"):
        zero.check_alike([[clip, text], [clip, clip]])
    assert zero.media_of({"pixel_values_videos": 1, "pixel_values": None}) == clip
