"""Scripts written for the released package, against its own way of putting a prompt together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from videollama2 import VideoLlama2, mm_infer, model_init
from videollama2.processing.chat import RELEASED_SYSTEM_TEXT

SHORT = {"do_sample": False, "max_new_tokens": 12}
# As `tests/recorded` names them: a Mistral that sees, a Qwen2 that also hears.
SEEING, HEARING = "mistral-clip-stc", "qwen2-siglip-stc_v35-beats"


@pytest.fixture(scope="module")
def released(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded checkpoints with a tokenizer, towers beside them."""
    root = tmp_path_factory.mktemp("released")
    for name in (SEEING, HEARING):
        shutil.copytree(recorded / name, root / name)
        tokenizer = tiny.build_tokenizer(media_tokens=False)
        tokenizer.chat_template = None  # the released template of the family serves
        tokenizer.save_pretrained(root / name)
    for place in (*recorded.glob("*-tiny-*"), *recorded.glob("*.pt")):
        copy = shutil.copytree if place.is_dir() else shutil.copy
        copy(place, root / place.name)
    return root


def reference(model: Any, tokenizer: Any, chunks: list[Any], **settings: Any) -> str:
    """Text and features, embedded and joined as in the released `prepare_inputs_labels`."""
    rows: list[torch.Tensor] = []
    for chunk in chunks:
        if isinstance(chunk, str):
            ids = tokenizer(chunk, add_special_tokens=False, return_tensors="pt").input_ids
            rows.append(model.get_input_embeddings()(ids)[0])
        else:
            rows.append(chunk)
    inputs_embeds = torch.cat(rows)[None]
    media = model.model.media_token_ids().values()
    banned = [token for token in media if token < model.config.text_config.vocab_size]
    out = model.generate(
        inputs_embeds=inputs_embeds,
        attention_mask=torch.ones(inputs_embeds.shape[:2], dtype=torch.long),
        eos_token_id=[model.generation_config.eos_token_id, tokenizer.eos_token_id],
        suppress_tokens=banned or None,
        **{**SHORT, **settings},
    )
    return tokenizer.batch_decode(out, skip_special_tokens=True)[0].strip()


def test_a_seeing_checkpoint(released: Path, media_folder: Path) -> None:
    model, processor, tokenizer = model_init(str(released / SEEING), device="cpu")
    assert set(processor) == {"image", "video"}
    before, after = f"[INST] {RELEASED_SYSTEM_TEXT}\n\n", "\nWhat is it? [/INST]"
    clip = processor["video"](str(media_folder / "clip.mp4"))
    assert clip.shape == (8, 3, 56, 56)
    features = model.get_video_features(clip[None]).pooler_output[0]
    expected = reference(model, tokenizer, [before, features, after])
    asked = {"model": model, "tokenizer": tokenizer, **SHORT}
    assert mm_infer(clip, "What is it?", modal="video", **asked) == expected
    assert mm_infer(clip.half(), "What is it?", **asked) != ""
    image = processor["image"](str(media_folder / "picture.png"))
    assert image.shape == (1, 3, 56, 56)
    eight = image[0].expand(8, -1, -1, -1)[None]
    features = model.get_video_features(eight).pooler_output[0]
    expected = reference(model, tokenizer, [before, features, after])
    assert mm_infer(image, "What is it?", modal="image", **asked) == expected
    expected = reference(model, tokenizer, [before + after])
    assert mm_infer(None, "What is it?", modal="text", **asked) == expected
    messages = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Me."},
        {"role": "user", "content": "Really?"},
    ]
    rest = "\nWho? [/INST] Me.<|im_end|>[INST] Really? [/INST]"
    features = model.get_video_features(clip[None]).pooler_output[0]
    expected = reference(model, tokenizer, [before, features, rest])
    assert mm_infer(clip, messages, modal="video", **asked) == expected
    assert messages[0]["content"] == "Who?"


def test_a_hearing_checkpoint(released: Path, media_folder: Path) -> None:
    model, processor, tokenizer = model_init(str(released / HEARING), device="cpu")
    assert set(processor) == {"image", "video", "audio"}
    before = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    after = "\nWho?<|im_end|>\n<|im_start|>assistant\n"
    both = processor["video"](str(media_folder / "clip.mp4"), va=True)
    assert both["video"].shape == (8, 3, 56, 56)
    assert both["audio"].shape == (1, 2998, 128)
    seen = model.get_video_features(both["video"][None]).pooler_output[0]
    heard = model.get_audio_features(both["audio"]).pooler_output[0]
    asked = {"model": model, "tokenizer": tokenizer, **SHORT}
    expected = reference(model, tokenizer, [before, seen, heard, after])
    assert mm_infer(both, "Who?", modal="video", **asked) == expected
    expected = reference(model, tokenizer, [before, seen, after])
    alone = processor["video"](str(media_folder / "clip.mp4"), va=False)
    assert mm_infer(alone, "Who?", modal="video", **asked) == expected
    sound = processor["audio"](str(media_folder / "tone.wav"))
    assert sound.shape == (1, 2998, 128)
    features = model.get_audio_features(sound).pooler_output[0]
    expected = reference(model, tokenizer, [before, features, after])
    assert mm_infer(sound, "Who?", modal="audio", **asked) == expected
    silent = processor["video"](str(media_folder / "silent.mp4"), va=True)
    assert silent["audio"].shape == (1, 2998, 128)


def test_the_calls_of_the_released_readme(
    released: Path, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By position and name as there, with nothing said of a device, from its folder."""
    monkeypatch.chdir(released)
    from videollama2.utils import disable_torch_init

    disable_torch_init()
    model, processor, tokenizer = model_init(SEEING)
    drawn = torch.nn.Linear(4, 4)
    assert drawn.weight.abs().sum() > 0  # what is made afterwards is drawn as ever
    for modal, path in (("video", "clip.mp4"), ("image", "picture.png")):
        output = mm_infer(
            processor[modal](str(media_folder / path)),
            "What is it?",
            model=model,
            tokenizer=tokenizer,
            do_sample=False,
            modal=modal,
            max_new_tokens=4,
        )
        assert type(output) is str


def test_the_scripts_that_take_a_tower_away(released: Path, media_folder: Path) -> None:
    """As the released README chooses between seeing and hearing."""
    model, processor, tokenizer = model_init(str(released / HEARING), device="cpu")
    asked = {"model": model, "tokenizer": tokenizer, **SHORT}
    both = processor["video"](str(media_folder / "clip.mp4"), va=True)
    seen = mm_infer(both["video"], "Who?", **asked)
    heard = mm_infer(both["audio"], "Who?", modal="audio", **asked)
    tower = model.model.audio_tower
    model.model.audio_tower = None
    assert mm_infer(both, "Who?", **asked) == seen
    model.model.audio_tower, model.model.vision_tower = tower, None
    assert mm_infer(both["audio"], "Who?", modal="audio", **asked) == heard


def test_ranges_frames_and_geometry(released: Path, media_folder: Path) -> None:
    _, processor, _ = model_init(str(released / SEEING), device="cpu")
    read, clip = processor["video"], str(media_folder / "clip.mp4")
    assert read(clip, num_frames=4).shape[0] == 4
    assert read(clip, num_frames=None).shape[0] == 2  # one frame a second
    assert not torch.equal(read(clip, s=0.5, e=1.0), read(clip))
    torch.testing.assert_close(read(clip, aspect_ratio="pad"), read(clip))  # it is square


def test_our_own_layout(tiny_folder: Path, media_folder: Path) -> None:
    clip = str(media_folder / "clip.mp4")
    model, processor, tokenizer = model_init(tiny_folder, device="cpu")
    both = processor["video"](clip, va=True)
    answer = mm_infer(both, "Who?", model, tokenizer, **SHORT)
    assistant = VideoLlama2.from_pretrained(tiny_folder, device="cpu")
    assert answer == assistant.ask("Who?", video=clip, max_new_tokens=12)


def test_sampling_follows_torch_seed(tiny_folder: Path) -> None:
    model, _, tokenizer = model_init(tiny_folder, device="cpu")

    def draw(seed: int) -> str:
        torch.manual_seed(seed)
        settings = {"do_sample": True, "temperature": 2.0, "max_new_tokens": 20}
        return mm_infer(None, "Who?", model, tokenizer, modal="text", **settings)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_what_makes_no_sense(tiny_folder: Path) -> None:
    model, _, tokenizer = model_init(tiny_folder, device="cpu")
    with pytest.raises(ValueError, match="'smell'"):
        mm_infer(None, "Who?", model, tokenizer, modal="smell")
    with pytest.raises(ValueError, match="no medium"):
        mm_infer(None, "Who?", model, tokenizer, modal="video")
    with pytest.raises(ValueError, match="load_4bit"):
        model_init(tiny_folder, load_4bit=True)
