"""Conversations with media -> inputs: counts, order, mixtures, errors, reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile

from videollama2.media.errors import (
    CorruptMediaError,
    NoAudioStreamError,
    TruncatedMediaError,
)
from videollama2.media.video import VideoClip
from videollama2.model.tokens import num_audio_tokens, num_image_tokens, num_video_tokens
from videollama2.processing.fbank import num_fbank_frames
from videollama2.processing.parts import AudioInput, VideoInput
from videollama2.processing.processor import VideoLlama2Processor

Make = Callable[..., VideoLlama2Processor]
Config = Callable[..., Any]


def frames(count: int, level: int = 100) -> np.ndarray:
    return np.full((count, 40, 60, 3), level, dtype=np.uint8)


def counted(processor: VideoLlama2Processor, ids: torch.Tensor) -> dict[str, int]:
    return {kind: int((ids == i).sum()) for kind, i in processor.token_ids.items()}


def runs(processor: VideoLlama2Processor, row: torch.Tensor) -> list[tuple[str, int]]:
    """The placeholder runs of a row in order: (kind, length)."""
    kind_of = {token_id: kind for kind, token_id in processor.token_ids.items()}
    found: list[tuple[str, int]] = []
    before = None
    for token in row.tolist():
        if token in kind_of:
            if before == token:
                found[-1] = (found[-1][0], found[-1][1] + 1)
            else:
                found.append((kind_of[token], 1))
        before = token
    return found


def talk(*parts: Any) -> list[dict[str, Any]]:
    content = [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]
    return [{"role": "user", "content": content}]


def ask(processor: VideoLlama2Processor, *conversations: Any, **options: Any) -> Any:
    batch = conversations[0] if len(conversations) == 1 else list(conversations)
    return processor.apply_chat_template(
        batch, tokenize=True, return_dict=True, add_generation_prompt=True, **options
    )


def test_each_medium_becomes_as_many_placeholders_as_the_model_makes_tokens(
    processor: VideoLlama2Processor, make_config: Config, clip: Path, sound_file: Path
) -> None:
    config = make_config()
    inputs = processor(
        text="<video> <image> <audio>",
        videos=VideoInput(str(clip), sound=False),
        images=frames(1)[0],
        audio=str(sound_file),
    )
    assert counted(processor, inputs["input_ids"]) == {
        "video": num_video_tokens(config, 4),
        "image": num_image_tokens(config),
        "audio": num_audio_tokens(config.audio_config, num_fbank_frames(24_000)),
    }
    assert inputs["pixel_values_videos"].shape == (1, 4, 3, 56, 56)
    assert inputs["pixel_values"].shape == (1, 3, 56, 56)
    assert inputs["input_features"].shape == (1, num_fbank_frames(24_000), 128)
    assert "input_features_mask" not in inputs


@pytest.mark.parametrize(
    "connector", ["stc_connector", "stc_connector_v35", "stp_connector", "spatial_conv", "linear"]
)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_counts_follow_connector_and_frames(
    make_processor: Make, make_config: Config, connector: str, count: int
) -> None:
    changes = {"connector_config": {"connector_type": connector}}
    processor, config = make_processor(**changes), make_config(**changes)
    inputs = processor(text="<video>", videos=frames(count))
    shown = inputs["pixel_values_videos"].shape[1]
    doubled = count == 1 and connector in ("stc_connector_v35", "stp_connector")
    assert shown == (2 if doubled else count)
    assert counted(processor, inputs["input_ids"])["video"] == num_video_tokens(config, shown)
    assert bool(inputs.reports[0].notes) == doubled
    assert inputs.reports[0].frames == count


def test_an_audio_visual_video_is_its_video_run_followed_by_its_audio_run(
    processor: VideoLlama2Processor, clip: Path
) -> None:
    inputs = ask(processor, talk({"type": "video", "path": str(clip)}, "What is heard?"))
    video, audio = 2 * 2 * 2, (num_fbank_frames(32_000) // 16) * 8
    assert runs(processor, inputs["input_ids"][0]) == [("video", video), ("audio", audio)]
    report = inputs.reports[0]
    assert (report.path, report.kind, report.frames) == (str(clip), "video", 4)
    assert report.sound_s == pytest.approx(2.0, abs=0.01)
    assert report.duration_s == pytest.approx(2.0, abs=0.11)


def test_any_order_and_mixture_in_one_batch_keeps_features_in_the_texts_order(
    processor: VideoLlama2Processor, clip: Path, sound_file: Path
) -> None:
    video = {"type": "video", "path": str(clip)}
    sound = {"type": "audio", "path": str(sound_file)}
    picture = {"type": "image", "image": frames(1)[0]}
    rows = [
        talk(sound, "and", video, "?"),
        talk("no media at all"),
        talk(picture, picture, {"type": "video", "video": frames(6)}, "?"),
        talk({**video, "sound": False}, sound),
    ]
    together = ask(processor, *rows)
    alone = [ask(processor, row) for row in rows]
    kinds = [[kind for kind, _ in runs(processor, row)] for row in together["input_ids"]]
    # Two images side by side differ by the newline between them.
    assert kinds == [
        ["audio", "video", "audio"],
        [],
        ["image", "image", "video"],
        ["video", "audio"],
    ]
    for index, one in enumerate(alone):
        kept = together["attention_mask"][index].bool()
        assert torch.equal(together["input_ids"][index][kept], one["input_ids"][0])
    videos = [v for one in alone for v in one.get("pixel_values_videos", [])]
    assert all(
        torch.equal(a, b) for a, b in zip(together["pixel_values_videos"], videos, strict=True)
    )
    sounds = [f for one in alone for f in unpadded(one)]
    for found, wanted in zip(unpadded(together), sounds, strict=True):
        assert torch.equal(found, wanted)
    assert [r.kind for r in together.reports] == [
        *("audio", "video"),
        *("image", "image", "video"),
        *("video", "audio"),
    ]


def unpadded(inputs: Any) -> list[torch.Tensor]:
    features = inputs.get("input_features", [])
    mask = inputs.get("input_features_mask")
    return [f if mask is None else f[mask[i].bool()] for i, f in enumerate(features)]


def test_videos_of_unequal_length_come_as_a_list(processor: VideoLlama2Processor) -> None:
    inputs = processor(text=["<video>", "<video>"], videos=[frames(4), frames(6)])
    assert [len(video) for video in inputs["pixel_values_videos"]] == [4, 6]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_side(processor: VideoLlama2Processor, side: str) -> None:
    inputs = processor(text=["a", "abc"], padding_side=side)
    wanted = [0, 0, 1] if side == "left" else [1, 0, 0]
    assert inputs["attention_mask"].tolist() == [wanted, [1, 1, 1]]
    pad = inputs["input_ids"][0][inputs["attention_mask"][0] == 0]
    assert set(pad.tolist()) == {processor.tokenizer.pad_token_id}


@pytest.mark.parametrize(
    ("text", "media", "said"),
    [
        ("<video><video>", {"videos": [frames(4)]}, "video: 1 given, but the texts hold 2 <video>"),
        ("no media", {"images": [frames(1)[0]]}, "image: 1 given, but the texts hold 0 <image>"),
        ("<audio>", {}, "audio: 0 given, but the texts hold 1 <audio>"),
    ],
)
def test_a_mismatch_says_which(
    processor: VideoLlama2Processor, text: str, media: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        processor(text=text, **media)


def test_a_placeholder_written_in_a_message_is_refused(processor: VideoLlama2Processor) -> None:
    with pytest.raises(ValueError, match="'<video>'"):
        ask(processor, talk("what does <video> mean?"))
    with pytest.raises(ValueError, match="'<audio>'"):
        ask(processor, [{"role": "user", "content": "<audio>"}])


def test_released_mode_without_a_soundtrack_hears_silence(
    released: VideoLlama2Processor, silent_clip: Path
) -> None:
    inputs = ask(released, talk({"type": "video", "path": str(silent_clip)}, "?"))
    assert runs(released, inputs["input_ids"][0]) == [("video", 8), ("audio", 1496)]
    assert inputs["input_features"].shape == (1, 2998, 128)
    assert float(inputs["input_features"].max()) == pytest.approx(np.log(2.0**-23))
    assert inputs.reports[0].sound_s == 0.0
    assert "silence" in " ".join(inputs.reports[0].notes)


def test_native_mode_without_a_soundtrack_has_no_run(
    processor: VideoLlama2Processor, silent_clip: Path
) -> None:
    inputs = ask(processor, talk({"type": "video", "path": str(silent_clip)}, "?"))
    assert runs(processor, inputs["input_ids"][0]) == [("video", 8)]
    assert "input_features" not in inputs
    assert inputs.reports[0].sound_s == 0.0


@pytest.mark.parametrize("mode", ["native", "released"])
def test_sound_asked_of_a_silent_clip_is_an_error(
    make_processor: Make, silent_clip: Path, mode: str
) -> None:
    with pytest.raises(NoAudioStreamError, match=silent_clip.name):
        make_processor(media_mode=mode).load_media(VideoInput(str(silent_clip), sound=True))


def test_a_model_without_ears_leaves_sound_out_or_says_so(make_processor: Make, clip: Path) -> None:
    deaf = make_processor(audio_config=None)
    assert deaf.load_media(VideoInput(str(clip))).features is None
    with pytest.raises(ValueError, match="no audio branch"):
        deaf.load_media(VideoInput(str(clip), sound=True))
    with pytest.raises(ValueError, match="no audio branch"):
        deaf.load_media(AudioInput(str(clip)))


def test_released_windows_are_thirty_seconds_whatever_the_clip(
    released: VideoLlama2Processor, clip: Path, sound_file: Path
) -> None:
    inputs = released(text="<video><audio>", videos=str(clip), audio=str(sound_file))
    assert inputs["input_features"].shape == (2, 2998, 128)
    assert counted(released, inputs["input_ids"])["audio"] == 2 * 1496
    assert [round(r.sound_s, 2) for r in inputs.reports] == [2.0, 1.5]


def test_released_mode_fills_short_clips_with_black_and_cuts_long_ones(
    released: VideoLlama2Processor,
) -> None:
    short = released.load_media(VideoInput(frames(3)))
    assert short.pixels is not None
    assert short.pixels.shape[0] == 4
    assert torch.all(short.pixels[3] == -1.0)
    assert "black" in short.report.notes[0]
    long = released.load_media(VideoInput(frames(40)))
    assert long.pixels is not None
    assert long.pixels.shape[0] == 32


def test_start_and_end_cut_picture_and_sound(processor: VideoLlama2Processor, clip: Path) -> None:
    loaded = processor.load_media({"type": "video", "path": str(clip), "start": 0.5, "end": 1.5})
    assert loaded.report.sound_s == pytest.approx(1.0)
    whole = processor.load_media({"type": "video", "path": str(clip)})
    assert whole.pixels is not None
    assert loaded.pixels is not None
    assert not torch.equal(whole.pixels, loaded.pixels)


def test_a_sound_longer_than_the_window_is_cut_and_said(processor: VideoLlama2Processor) -> None:
    samples = np.zeros(31 * 16_000, dtype=np.float32)
    loaded = processor.load_media(AudioInput(samples))
    assert loaded.report.sound_s == 30.0
    assert loaded.report.notes == ("Only the first 30 s of 31.0 s of sound are heard.",)
    assert processor.counter.audio(2998) == 1496


@pytest.mark.parametrize("mode", ["native", "released"])
@pytest.mark.parametrize("level", [np.nan, np.inf, -1e30])
def test_samples_that_are_no_sound_are_refused(
    make_processor: Make, tmp_path: Path, mode: str, level: float
) -> None:
    """In vLLM's cache of keys and values they would spoil later answers."""
    processor = make_processor(media_mode=mode)
    samples = np.zeros(16_000, dtype=np.float32)
    samples[5_000] = level
    with pytest.raises(CorruptMediaError, match="no numbers"):
        processor.load_media(AudioInput(samples))
    file = tmp_path / "wrong.wav"
    wavfile.write(file, 16_000, samples)
    if mode == "released":
        with pytest.raises(CorruptMediaError, match=r"wrong\.wav"):
            processor.load_media(AudioInput(file))
    else:  # taken to 16 bits, as the released code's ffmpeg does
        loaded = processor.load_media(AudioInput(file))
        assert loaded.features is not None
        assert loaded.features.isfinite().all()


def test_reading_is_deterministic(processor: VideoLlama2Processor, clip: Path) -> None:
    first, second = (processor.load_media(VideoInput(str(clip))) for _ in range(2))
    assert first.pixels is not None
    assert second.pixels is not None
    assert torch.equal(first.pixels, second.pixels)
    assert first.features is not None
    assert second.features is not None
    assert torch.equal(first.features, second.features)


def test_loaded_media_stand_in_any_number_of_conversations(
    processor: VideoLlama2Processor, clip: Path
) -> None:
    loaded = processor.load_media(VideoInput(str(clip)))
    clip.unlink()
    first = ask(processor, talk({"type": "video", "video": loaded}, "What?"))
    turn = [
        *talk({"type": "video", "video": loaded}, "What?"),
        {"role": "assistant", "content": "A tone."},
        {"role": "user", "content": "Which?"},
    ]
    second = ask(processor, turn)
    assert runs(processor, first["input_ids"][0]) == runs(processor, second["input_ids"][0])
    same = len("[user]")
    assert torch.equal(first["input_ids"][0, :same], second["input_ids"][0, :same])


def test_text_is_encoded_piece_by_piece_around_the_placeholders(
    processor: VideoLlama2Processor,
) -> None:
    inputs = processor(text="ab<image>cd", images=frames(1)[0])
    encode = processor.tokenizer.encode
    image = [processor.image_token_id] * 8
    assert inputs["input_ids"][0].tolist() == [*encode("ab"), *image, *encode("cd")]


def test_without_tokenize_the_text_comes_back_and_nothing_is_read(
    processor: VideoLlama2Processor,
) -> None:
    message = talk({"type": "video", "path": "/nowhere.mp4"}, "What?")
    text = processor.apply_chat_template(message, add_generation_prompt=True)
    assert text == "[user]<video>\nWhat?[end][assistant]"
    assert processor.apply_chat_template([message, message])[1] == "[user]<video>\nWhat?[end]"


def test_rows_are_padded_to_the_length_asked_for_and_never_cut(
    processor: VideoLlama2Processor,
) -> None:
    texts = ["a", "abc"]
    filled = processor(text=texts, padding="max_length", max_length=5, truncation=True)
    assert filled["attention_mask"].tolist() == [[0, 0, 0, 0, 1], [0, 0, 1, 1, 1]]
    nested = processor(text=texts, text_kwargs={"padding": "max_length", "max_length": 5})
    assert torch.equal(nested["input_ids"], filled["input_ids"])
    longer = processor(text=texts, padding="max_length", max_length=2)
    assert longer["input_ids"].shape == (2, 3)
    with pytest.raises(ValueError, match="needs max_length"):
        processor(text=texts, padding="max_length")
    with pytest.raises(ValueError, match="given twice"):
        processor(text=texts, padding=True, text_kwargs={"padding": False})


def test_arrays_may_have_their_channels_first(processor: VideoLlama2Processor) -> None:
    last = frames(4)
    first = last.transpose(0, 3, 1, 2)
    videos = [processor(videos=array)["pixel_values_videos"] for array in (last, first)]
    assert torch.equal(*videos)
    images = [processor(images=array[0])["pixel_values"] for array in (last, first)]
    assert torch.equal(*images)


def test_unknown_options_and_truncation_are_refused(processor: VideoLlama2Processor) -> None:
    with pytest.raises(TypeError, match="colour"):
        processor(text="a", colour="red")
    with pytest.raises(ValueError, match="3 tokens long, and 2 are allowed: truncation"):
        processor(text="abc", truncation=True, text_kwargs={"max_length": 2})
    with pytest.raises(ValueError, match="neither text nor media"):
        processor()


def test_media_alone_give_their_tensors(processor: VideoLlama2Processor) -> None:
    inputs = processor(videos=frames(4))
    assert set(inputs) == {"pixel_values_videos"}


def test_options_of_the_call_reach_it_through_the_conversation(
    processor: VideoLlama2Processor, clip: Path
) -> None:
    video = {"type": "video", "path": str(clip)}
    two = ask(processor, talk(video), num_frames=2)
    assert two["pixel_values_videos"].shape[1] == 2
    own = ask(processor, talk({**video, "num_frames": 6}), num_frames=2)
    assert own["pixel_values_videos"].shape[1] == 6


def test_one_frame_a_second(
    processor: VideoLlama2Processor, write_video: Any, tmp_path: Path
) -> None:
    clip = write_video(tmp_path / "five.mkv", 5.0, None)
    loaded = processor.load_media(VideoInput(str(clip), sampling="fps"))
    assert loaded.report.frames == 5


def test_a_soundtrack_that_ends_before_the_range_is_no_sound(
    make_processor: Make, write_video: Any, tmp_path: Path
) -> None:
    clip = write_video(tmp_path / "long.mkv", 4.0, 1.0)
    part = VideoInput(str(clip), start=2.0, end=3.0)
    native = make_processor().load_media(part)
    assert native.features is None
    assert "soundtrack is empty here" in native.report.notes[-1]
    silent = make_processor(media_mode="released").load_media(part)
    assert silent.features is not None
    assert silent.report.sound_s == 0.0


def test_a_folder_of_frames_has_no_soundtrack(
    make_processor: Make, processor: VideoLlama2Processor, tmp_path: Path
) -> None:
    for n in range(6):
        Image.fromarray(frames(1, n * 40)[0]).save(tmp_path / f"{n}.png")
    assert processor.load_media(VideoInput(str(tmp_path))).features is None
    released = make_processor(media_mode="released").load_media(VideoInput(str(tmp_path)))
    assert released.features is not None
    assert released.report.sound_s == 0.0


def test_frames_in_any_container_are_the_same_video(processor: VideoLlama2Processor) -> None:
    array = np.random.default_rng(0).integers(0, 256, (4, 40, 60, 3), dtype=np.uint8)
    clip = VideoClip("made", list(array), (0, 1, 2, 3), (), None, None)
    forms = [
        array,
        list(array),
        [Image.fromarray(frame) for frame in array],
        torch.from_numpy(array).permute(0, 3, 1, 2),
        clip,
    ]
    pixels = [processor(text="<video>", videos=form)["pixel_values_videos"] for form in forms]
    assert all(torch.equal(pixels[0], other) for other in pixels[1:])
    assert processor(text="<video>" * 2, videos=forms[:2])["pixel_values_videos"].shape[0] == 2


@pytest.mark.parametrize("mode", ["native", "released"])
def test_pictures_are_answered_from_where_the_sound_is_lost(
    make_processor: Make, mode: str, tmp_path: Path
) -> None:
    """In a fragment of MP4 the pictures' bytes come before those of the sound."""
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    whole = clips.write_video(tmp_path / "whole.mp4", options=fragments).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: whole.index(b"mdat") + 2500])
    processor = make_processor(media_mode=mode)
    load = processor.loader.load
    with pytest.raises(TruncatedMediaError, match=r"cut\.mp4"):
        load(VideoInput(str(cut)))
    loaded = load(VideoInput(str(cut), allow_partial=True))
    assert loaded.report.frames > 0
    assert loaded.report.sound_s == 0
    assert (loaded.features is None) == (mode == "native")
    assert any("soundtrack cannot be read" in note for note in loaded.report.notes)
    with pytest.raises(TruncatedMediaError, match=r"0\.000 s of sound"):
        load(VideoInput(str(cut), sound=True, allow_partial=True))


@pytest.mark.parametrize("mode", ["native", "released"])
def test_a_sound_file_that_was_read_in_part_is_reported_so(
    make_processor: Make, mode: str, tmp_path: Path
) -> None:
    whole = clips.write_wav(tmp_path / "whole.wav").read_bytes()
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole[: len(whole) // 2])
    loaded = make_processor(media_mode=mode).loader.load(AudioInput(str(cut), allow_partial=True))
    assert 0.4 < loaded.report.sound_s < 0.6
    assert any("cut short" in note for note in loaded.report.notes)
