"""Fresh models out of parts: every weight where it was, what is new begins afresh, all runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from videollama2 import VideoLlama2ForConditionalGeneration, VideoLlama2Processor
from videollama2.checkpoints.compose import Assembly, Parts, compose
from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.load import load_model
from videollama2.checkpoints.names import canonical
from videollama2.model.tokens import num_video_tokens

WORDS = 300
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": WORDS,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LANGUAGE_MODELS: dict[str, dict[str, Any]] = {
    "qwen2": {**TEXT, "tie_word_embeddings": True},
    "llama": TEXT,
    "gemma2": {**TEXT, "head_dim": 8},
    "phi3": TEXT,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": WORDS, "n_positions": 512},
    "gpt_neox": {k: v for k, v in TEXT.items() if k != "num_key_value_heads"},
    "qwen3_moe": {**TEXT, "head_dim": 8, "moe_intermediate_size": 16, "num_experts": 4,
                  "num_experts_per_tok": 2},
    "mixtral": {**TEXT, "num_local_experts": 2},
    "granitemoe": {**TEXT, "num_local_experts": 2, "num_experts_per_tok": 2},
    "falcon_h1": {**TEXT, "head_dim": 8, "mamba_d_ssm": 64, "mamba_n_heads": 8,
                  "mamba_d_head": 8, "mamba_d_state": 16},
}  # fmt: skip
EYES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "patch_size": 7,
    "image_size": 28,
}
VISION = {
    "clip_vision_model": EYES,
    "siglip_vision_model": EYES,
    "siglip2_vision_model": {**EYES, "num_patches": 16},
    "dinov2": EYES,
    "vit": EYES,
}


def for_model(kind: str, **fields: Any) -> Any:
    return transformers.AutoConfig.for_model(kind, **fields)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain models of every kind, as transformers saves them, with a tokenizer beside."""
    import tiny

    root = tmp_path_factory.mktemp("parts")
    tokenizer = tiny.build_tokenizer(media_tokens=False)
    torch.manual_seed(1)
    for kind, fields in LANGUAGE_MODELS.items():
        model = transformers.AutoModelForCausalLM.from_config(for_model(kind, **fields))
        model.save_pretrained(root / kind)
        tokenizer.save_pretrained(root / kind)
    for kind, fields in VISION.items():
        transformers.AutoModel.from_config(for_model(kind, **fields)).save_pretrained(root / kind)
    settings = {
        "size": {"height": 28, "width": 28},
        "image_mean": [0.4] * 3,
        "image_std": [0.2] * 3,
    }
    (root / "vit" / "preprocessor_config.json").write_text(json.dumps(settings))
    clip = for_model("clip", vision_config=EYES, text_config={**TEXT, "projection_dim": 16})
    transformers.AutoModel.from_config(clip).save_pretrained(root / "clip")
    return root


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    """A composed model's weights, through transformers, which must miss and meet nothing."""
    model, told = VideoLlama2ForConditionalGeneration.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return {canonical(name): value for name, value in model.state_dict().items()}


def assert_saved_as_it_is(folder: Path) -> None:
    """What is saved, as at the end of training, is read again: by us and by transformers."""
    model = load_model(folder)
    saved = folder.with_name("saved")
    model.save_pretrained(saved)
    pairs = zip(model.state_dict().values(), load_model(saved).state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    state_of(saved)


def assert_holds(state: dict[str, torch.Tensor], prefix: str, module: torch.nn.Module) -> None:
    """Everything that the composed model has of a part equals the part's own."""
    own = {canonical(prefix + name): value for name, value in module.state_dict().items()}
    mine = {name: value for name, value in state.items() if name.startswith(prefix)}
    assert mine
    assert not [name for name, value in mine.items() if not torch.equal(value, own[name])]


@torch.no_grad()
def answers(folder: Path, frames: int = 4) -> torch.Tensor:
    """Logits for a clip and a few words, the media counted by the processor's own rule."""
    model = load_model(folder)
    config = model.config
    count = num_video_tokens(config, frames)
    ids = torch.tensor([[3, *[config.video_token_id] * count, 4, 5]])
    torch.manual_seed(2)
    logits = model(input_ids=ids, pixel_values_videos=torch.randn(1, frames, 3, 28, 28)).logits
    assert torch.isfinite(logits).all()
    return logits


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_any_language_model(kind: str, parts: Path, tmp_path: Path) -> None:
    compose(tmp_path / "out", Parts(language_model=str(parts / kind), vision=str(parts / "dinov2")),
            Assembly(num_frames=4, depth=1))  # fmt: skip
    state = state_of(tmp_path / "out")
    plain = transformers.AutoModelForCausalLM.from_pretrained(parts / kind)
    assert_holds(state, "model.language_model.", plain.base_model)
    assert torch.equal(state["lm_head.weight"], plain.get_output_embeddings().weight)
    answers(tmp_path / "out")
    assert_saved_as_it_is(tmp_path / "out")
    processor = VideoLlama2Processor.from_pretrained(tmp_path / "out")
    assert "<|im_start|>" in processor.chat_template or "<|im_start|>" in (
        processor.tokenizer.chat_template
    )


@pytest.mark.parametrize("kind", [*VISION, "clip"])
@pytest.mark.parametrize("layer", [-1, -2])
def test_any_vision_encoder(kind: str, layer: int, parts: Path, tmp_path: Path) -> None:
    compose(tmp_path / "out", Parts(language_model=str(parts / "qwen2"), vision=str(parts / kind)),
            Assembly(num_frames=4, depth=1, vision_feature_layer=layer))  # fmt: skip
    plain: Any = transformers.AutoModel.from_pretrained(parts / kind)
    assert_holds(
        state_of(tmp_path / "out"), "model.vision_tower.", getattr(plain, "vision_model", plain)
    )
    answers(tmp_path / "out")
    assert_saved_as_it_is(tmp_path / "out")
    settings = VideoLlama2Processor.from_pretrained(tmp_path / "out").video_processor.settings
    assert settings.size == (28, 28)
    if kind == "vit":
        assert settings.image_mean == (0.4, 0.4, 0.4)


@pytest.mark.parametrize(
    "connector",
    ["stc_connector", "stc_connector_v35", "stp_connector", "spatial_conv", "spatial_pool",
     "mlp2x_gelu", "mlp3x_gelu", "linear"],
)  # fmt: skip
def test_every_connector_in_a_model_of_ones_own(
    connector: str, tiny_folder: Path, tmp_path: Path
) -> None:
    """One word swaps the connector; every other weight keeps its bits."""
    made = compose(tmp_path / "out", Parts(model=str(tiny_folder), connector=connector))
    assert made.origins["connector"] is None
    before, after = load_file(tiny_folder / "model.safetensors"), state_of(tmp_path / "out")
    for name, value in after.items():
        if not name.startswith("model.connector."):
            assert torch.equal(value, before[name])
        elif value.dim() > 1:
            assert value.std() > 0.005
    answers(tmp_path / "out", frames=8)


def test_the_seed_decides(tiny_folder: Path, tmp_path: Path) -> None:
    def connector(name: str, seed: int, **parts: Any) -> dict[str, torch.Tensor]:
        compose(tmp_path / name, Parts(model=str(tiny_folder), connector="stc_connector", **parts),
                Assembly(seed=seed))  # fmt: skip
        state = load_file(tmp_path / name / "model.safetensors")
        return {n: v for n, v in state.items() if n.startswith("model.connector.") and v.dim() > 1}

    first, deaf, other = connector("a", 0), connector("b", 0, hears=False), connector("c", 1)
    assert all(torch.equal(value, deaf[name]) for name, value in first.items())
    assert not any(torch.equal(value, other[name]) for name, value in first.items())
    assert load_model(tmp_path / "b").config.audio_config is None


def test_ears_for_a_model_that_sees(
    recorded: Path, full: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """The audio stages begin from a released video checkpoint and a BEATs file."""
    made = compose(
        tmp_path / "out",
        Parts(model=str(full), audio=str(recorded / "beats_tiny.pt"), tokenizer=str(tiny_folder)),
    )
    assert made.origins["audio_projector"] is None
    state, seeing = state_of(tmp_path / "out"), load_model(full).state_dict()
    assert all(torch.equal(state[canonical(name)], value) for name, value in seeing.items())
    beats = torch.load(recorded / "beats_tiny.pt", weights_only=True)["model"]
    ears = {n: v for n, v in state.items() if n.startswith("model.audio_tower.")}
    assert ears
    for name, value in ears.items():
        assert torch.equal(value, beats[name.removeprefix("model.audio_tower.")])
    config = load_model(tmp_path / "out").config
    assert config.media_mode == "released"
    assert config.audio_config.mask_padding is False


def test_a_released_connector_upon_other_parts(
    base: Path, full: Path, house: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """A Base folder gives its connector, and needs neither the language model that it names."""
    language_model = shutil.copytree(house / "tiny-mistral", tmp_path / "mine")
    shutil.rmtree(house / "tiny-mistral")
    tower = house / "clip-vit-tiny-patch14-56"
    parts = Parts(language_model=str(language_model), vision=str(tower), connector=str(base),
                  tokenizer=str(tiny_folder))  # fmt: skip
    made = compose(tmp_path / "out", parts, Assembly(num_frames=4))
    assert made.origins["connector"] == str(base.resolve())
    state, whole = state_of(tmp_path / "out"), load_model(full).state_dict()
    assert not [n for n, v in whole.items() if not torch.equal(state[canonical(n)], v)]
    wrong = Parts(language_model=str(tiny_folder), vision=str(tower), connector=str(base))
    with pytest.raises(CheckpointError, match="its connector has hidden_size"):
        compose(tmp_path / "wrong", wrong)
    assert not (tmp_path / "wrong").exists()


def test_the_parts_of_another_model(tiny_folder: Path, parts: Path, tmp_path: Path) -> None:
    """Eyes and ears out of a whole model, with the layer that it reads; origins are remembered."""
    source = str(tiny_folder)
    seeing = Parts(language_model=str(parts / "llama"), vision=source, audio=source)
    compose(tmp_path / "one", seeing, Assembly(num_frames=4, depth=1, dtype=torch.bfloat16))
    state = load_file(tmp_path / "one" / "model.safetensors")
    assert {value.dtype for value in state.values()} == {torch.bfloat16}
    before = load_file(tiny_folder / "model.safetensors")
    eyes = {name: v for name, v in state.items() if "tower" in name}
    assert all(torch.equal(value, before[name].bfloat16()) for name, value in eyes.items())
    made = compose(tmp_path / "two", Parts(model=str(tmp_path / "one"), connector="linear"))
    assert made.origins["language_model"] == str(parts / "llama")
    assert made.origins["vision"] == str(tiny_folder.resolve())


def test_shapes_alone(tiny_folder: Path, tmp_path: Path) -> None:
    """Drawn weights: nothing of the model is kept but its shape; both loaders take the result."""
    made = compose(tmp_path / "out", Parts(model=str(tiny_folder)), Assembly(random=True))
    assert set(made.origins.values()) == {None}
    before, after = load_file(tiny_folder / "model.safetensors"), state_of(tmp_path / "out")
    for name, value in after.items():
        assert torch.isfinite(value).all()
        if value.dim() > 1 and not name.endswith("grep_a"):
            assert value.shape == before[name].shape
            assert not torch.equal(value, before[name])


def test_known_shapes_need_no_files(tmp_path: Path) -> None:
    known = Parts(language_model="Qwen/Qwen2-0.5B-Instruct", vision="siglip-so400m-patch14-384")
    with pytest.raises(CheckpointError, match=r"has no tokenizer.*--tokenizer"):
        compose(tmp_path / "out", known, Assembly(random=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"language_model": None}, "no language_model.*--language-model"),
        ({"vision": None}, "no vision.*--vision"),
        ({"language_model": "nowhere"}, "is no folder and no hub id"),
        ({"language_model": "clip"}, "of type clip, no causal language model"),
        ({"vision": "qwen2"}, "says too little of it|holds no vision"),
        ({"audio": "nothing.pt"}, "is not there"),
        ({"audio": "qwen2"}, "no checkpoint with an audio encoder"),
        ({"connector": "qwen2"}, "has no connector"),
        ({"audio_projector": "linear"}, "needs an audio encoder"),
        ({"tokenizer": "clip"}, "has no tokenizer"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], said: str, parts: Path, tmp_path: Path) -> None:
    places: dict[str, Any] = {"language_model": "qwen2", "vision": "dinov2", **changes}
    given = {
        part: str(parts / name) if name and (parts / name).is_dir() and name != "linear" else name
        for part, name in places.items()
    }
    with pytest.raises(CheckpointError, match=said):
        compose(tmp_path / "out", Parts(**given))
    assert not list(tmp_path.iterdir())


def test_settings_that_do_not_fit(parts: Path, tmp_path: Path) -> None:
    given = Parts(language_model=str(parts / "qwen2"), vision=str(parts / "dinov2"))
    with pytest.raises(ValueError, match="give at least 2 frames"):
        compose(tmp_path / "out", given, Assembly(num_frames=1))
    with pytest.raises(ValueError, match="no connector is called"):
        compose(tmp_path / "out", Parts(**{**vars(given), "connector": "q_former"}))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis").touch()
    with pytest.raises(CheckpointError, match="not empty"):
        compose(tmp_path / "out", given)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (
            "mamba",
            {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "vocab_size": WORDS},
        ),
        ("rwkv", {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": WORDS}),
    ],
)
def test_a_language_model_without_attention(
    kind: str, fields: dict[str, Any], parts: Path, tmp_path: Path
) -> None:
    """It would fail at the first forward: nothing is written."""
    model = transformers.AutoModelForCausalLM.from_config(for_model(kind, **fields))
    model.save_pretrained(tmp_path / kind)
    given = Parts(language_model=str(tmp_path / kind), vision=str(parts / "dinov2"),
                  tokenizer=str(parts / "qwen2"))  # fmt: skip
    missing = "(past_key_values|cache|keys and values)"  # as its release of transformers calls it
    with pytest.raises(ValueError, match=f"{kind} takes no .*{missing}"):
        compose(tmp_path / "out", given, Assembly(num_frames=4, depth=1))
    assert [path.name for path in tmp_path.iterdir()] == [kind]


def test_an_encoder_that_merges_patches(parts: Path, tmp_path: Path) -> None:
    swin = for_model("swin", embed_dim=8, depths=[1, 1], num_heads=[1, 2], image_size=28,
                     patch_size=7, window_size=2)  # fmt: skip
    transformers.AutoModel.from_config(swin).save_pretrained(tmp_path / "swin")
    given = Parts(language_model=str(parts / "qwen2"), vision=str(tmp_path / "swin"))
    with pytest.raises(ValueError, match="swin merges patches"):
        compose(tmp_path / "out", given, Assembly(num_frames=4, depth=1))
    assert [path.name for path in tmp_path.iterdir()] == ["swin"]


def test_a_class_token_is_in_no_grid(parts: Path, tmp_path: Path) -> None:
    given = Parts(language_model=str(parts / "qwen2"), vision=str(parts / "dinov2"))
    how = Assembly(num_frames=4, vision_feature_select="cls_patch")
    with pytest.raises(ValueError, match="stc_connector_v35 takes a grid"):
        compose(tmp_path / "out", given, how)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_there(parts: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    lame = shutil.copytree(parts / "llama", tmp_path / "lame")
    state = load_file(lame / "model.safetensors")
    del state["model.norm.weight"]
    save_file(state, lame / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"norm\.weight"):
        compose(tmp_path / "out", Parts(language_model=str(lame), vision=str(parts / "vit")))
