"""One engine with the starter: what requests may hold, and what is said of those that are wrong."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import clips as made
import numpy as np
import pytest
from PIL import Image
from vllm_engines import ours, start, stop

from videollama2.engine import Engine, user_message
from videollama2.generation.settings import SamplingSettings
from videollama2.media.errors import MediaError, TruncatedMediaError
from videollama2.media.video import read_video
from videollama2.processing.parts import AudioInput, ImageInput, Part, VideoInput

QUESTION = "What is heard?"
HEARD = {"use_audio_in_video": True}


@pytest.fixture(scope="module")
def vllm(starter: str) -> Any:
    engine = start(starter)
    yield engine
    stop(engine)


@pytest.fixture(scope="module")
def own(starter: str) -> Engine:
    return ours(starter)


@pytest.fixture(scope="module")
def clip() -> Path:
    return Path(__file__).parents[2] / "starter" / "clips" / "scene-003.mp4"


def params(tokens: int = 8) -> Any:
    from vllm import SamplingParams

    return SamplingParams(temperature=0.0, max_tokens=tokens)


def uri(file: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def prompt_ids(own: Engine, parts: list[Part], text: str = QUESTION) -> tuple[list[int], Any]:
    """Our own prompt, and the tokens of our own answer to it, the stop token with them."""
    media = own.take_in(parts)
    prompt = own.prompt([user_message(text, media)], media)
    written = own.write([prompt], [SamplingSettings(8)])[0]
    return list(prompt.input_ids), list(written.token_ids)


def answered(output: Any) -> tuple[list[int], list[int]]:
    ids = list(output.outputs[0].token_ids)
    return list(output.prompt_token_ids), ids[:-1] if output.outputs[0].stop_reason is None and (
        output.outputs[0].finish_reason == "stop"
    ) else ids


def test_chat_reads_media_as_our_processor_does(
    vllm: Any, own: Engine, clip: Path, media_folder: Path
) -> None:
    """OpenAI's messages with `data:` URIs: the same prompt and answer, frames and sound too."""
    video = {"type": "video_url", "video_url": {"url": uri(clip, "video/mp4")}}
    picture = media_folder / "picture.png"
    image = {"type": "image_url", "image_url": {"url": uri(picture, "image/png")}}
    tone = media_folder / "tone.wav"
    sound = {"type": "audio_url", "audio_url": {"url": uri(tone, "audio/wav")}}
    text = {"type": "text", "text": QUESTION}
    cases: list[tuple[list[Any], dict[str, Any] | None, list[Part]]] = [
        ([video, text], None, [VideoInput(clip, sound=False)]),
        ([video, text], HEARD, [VideoInput(clip, sound=True)]),
        ([image, text], None, [ImageInput(picture)]),
        ([sound, text], None, [AudioInput(tone)]),
        ([video, video, text], HEARD, [VideoInput(clip, sound=True)] * 2),
        ([sound, video, image, text], None, [AudioInput(tone), VideoInput(clip, sound=False),
                                            ImageInput(picture)]),
        ([video, text], {"num_frames": 4}, [VideoInput(clip, num_frames=4, sound=False)]),
    ]  # fmt: skip
    for content, options, parts in cases:
        output = vllm.llm.chat(
            [{"role": "user", "content": content}],
            params(),
            use_tqdm=False,
            mm_processor_kwargs=options,
        )[0]
        assert answered(output) == prompt_ids(own, parts)


def test_chat_has_sounds_read_by_our_reader(vllm: Any, media_folder: Path, tmp_path: Path) -> None:
    """Which does not take half a file for the whole, as vLLM's readers do."""
    whole, cut = media_folder / "tone.wav", tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    sound = {"type": "audio_url", "audio_url": {"url": uri(cut, "audio/wav")}}
    with pytest.raises(TruncatedMediaError):
        vllm.llm.chat([{"role": "user", "content": [sound]}], params(), use_tqdm=False)


def test_generate_takes_what_our_processor_takes(
    vllm: Any, own: Engine, clip: Path, media_folder: Path
) -> None:
    """Paths, bytes, frames, waveforms and our own parts, in a text prompt."""
    text = f"<|user|><video>\n{QUESTION}<|assistant|>"
    frames = np.stack(read_video(clip, num_frames=8).frames)
    expected = prompt_ids(own, [VideoInput(clip, sound=False)])
    given: list[Any] = [str(clip), clip, clip.read_bytes(), frames, list(frames), (frames, {})]
    part = VideoInput(clip, sound=False)
    given += [part, own.processor.load_media(part)]
    for video in given:
        inputs = {"prompt": text, "multi_modal_data": {"video": [video]}}
        assert answered(vllm.llm.generate(inputs, params(), use_tqdm=False)[0]) == expected
    samples = made.tone(1.0)
    audio = {"prompt": f"<|user|><audio>\n{QUESTION}<|assistant|>"}
    for sound in (samples, (samples, 16_000)):
        inputs = {**audio, "multi_modal_data": {"audio": [sound]}}
        ids = answered(vllm.llm.generate(inputs, params(), use_tqdm=False)[0])[0]
        assert ids == prompt_ids(own, [AudioInput(samples)])[0]
    picture = Image.open(media_folder / "picture.png")
    inputs = {"prompt": f"<|user|><image>\n{QUESTION}<|assistant|>"}
    inputs["multi_modal_data"] = {"image": picture}
    assert answered(vllm.llm.generate(inputs, params(), use_tqdm=False)[0]) == prompt_ids(
        own, [ImageInput(media_folder / "picture.png")]
    )


@pytest.mark.parametrize(
    ("text", "media", "options", "why"),
    [
        ("<video>?", {}, {}, "video: 0 given, but the prompt holds 1 <video>"),
        ("?", {"video": 1}, {}, "video: 1 given, but the prompt holds 0 <video>"),
        ("<video><video>?", {"video": 1}, {}, "video: 1 given, but the prompt holds 2"),
        ("<video>?", {"video": 1}, {"frames": 4}, "mm_processor_kwargs has frames"),
        ("<video>?", {"video": 1}, {"num_frames": 0}, "num_frames is 0"),
        ("<video>?", {"video": 1}, {"num_frames": True}, "num_frames is True"),
    ],
)
def test_wrong_requests_are_refused(
    vllm: Any, clip: Path, text: str, media: dict[str, int], options: dict[str, int], why: str
) -> None:
    inputs: dict[str, Any] = {"prompt": text, "mm_processor_kwargs": options}
    inputs["multi_modal_data"] = {kind: [clip] * count for kind, count in media.items()}
    with pytest.raises(ValueError, match=why):
        vllm.llm.generate(inputs, params(), use_tqdm=False)


def test_unreadable_media_are_refused(vllm: Any, media_folder: Path) -> None:
    for name in ("garbage.mp4", "empty.mp4", "cut.mkv", "none.mp4"):
        inputs = {"prompt": "<video>?", "multi_modal_data": {"video": [media_folder / name]}}
        with pytest.raises(MediaError, match=name):
            vllm.llm.generate(inputs, params(), use_tqdm=False)
    silent = {"prompt": "<video>?", "multi_modal_data": {"video": [media_folder / "silent.mp4"]}}
    with pytest.raises(MediaError, match="no audio stream"):
        vllm.llm.generate({**silent, "mm_processor_kwargs": HEARD}, params(), use_tqdm=False)


def test_one_wrong_request_spoils_no_other(vllm: Any, own: Engine, clip: Path) -> None:
    """Neither those asked with it, nor those asked after it, nor the engine."""
    good = {"prompt": f"<|user|><video>\n{QUESTION}<|assistant|>"}
    good["multi_modal_data"] = {"video": [clip]}
    expected = prompt_ids(own, [VideoInput(clip, sound=False)])
    loaded = own.processor.load_media(VideoInput(clip, sound=True))
    small = replace(loaded, pixels=loaded.pixels[..., :30, :30])
    narrow = replace(loaded, features=loaded.features[:, :30])
    dark = replace(loaded, pixels=loaded.pixels * np.nan)
    wrong = [(("video", one), "not prepared for this model") for one in (small, narrow, dark)]
    wrong += [(("video", Path(__file__)), "not a media file")]
    wrong += [(("audio", np.full(16_000, np.nan, np.float32)), "no numbers")]
    for (kind, medium), why in wrong:
        bad = {"prompt": f"<{kind}>?", "multi_modal_data": {kind: [medium]}}
        with pytest.raises(ValueError, match=why):
            vllm.llm.generate([good, bad, good], params(), use_tqdm=False)
        outputs = vllm.llm.generate([good], params(), use_tqdm=False)
        assert [answered(output) for output in outputs] == [expected]


def test_an_answer_has_room_or_the_prompt_is_refused(vllm: Any) -> None:
    longest = vllm.room.longest
    tokens = [len(vllm.prompt([user_message("a " * n, [])], [])) for n in (1, 2)]
    words = (longest - tokens[0]) // (tokens[1] - tokens[0])
    last = vllm.prompt([user_message("a " * words, [])], [])
    assert len(last) == longest - 1
    assert len(vllm.write([last], [SamplingSettings(8)])[0].token_ids) <= 1
    with pytest.raises(ValueError, match="the answer among them"):
        vllm.prompt([user_message("a " * (words + 1), [])], [])


def test_a_medium_is_encoded_once(vllm: Any, clip: Path) -> None:
    """Whatever stands before it, so that no prefix is shared."""
    from videollama2.engines.vllm.model import VideoLlama2ForVllm

    encoded: list[int] = []
    real = VideoLlama2ForVllm.embed_multimodal

    def counted(self: Any, **fields: Any) -> list[Any]:
        found = real(self, **fields)
        encoded.append(len(found))
        return found

    medium = {"video": [clip.with_name("scene-009.mp4")]}
    with patch.object(VideoLlama2ForVllm, "embed_multimodal", counted):
        for text in ("one <video>", "two <video>", "three <video> four"):
            inputs = {"prompt": text, "multi_modal_data": medium}
            vllm.llm.generate(inputs, params(), use_tqdm=False)
    assert encoded == [1]


def test_a_placeholder_in_a_message_is_refused(vllm: Any) -> None:
    message = {"role": "user", "content": "say <video>"}
    with pytest.raises(ValueError, match="stands for a medium"):
        vllm.llm.chat([message], params(), use_tqdm=False)


def test_placeholders_are_never_written(vllm: Any, own: Engine) -> None:
    """Even where they are all that may be written."""
    from vllm import SamplingParams

    ids = sorted(own.processor.token_ids.values())
    wanted = SamplingParams(temperature=0.0, max_tokens=4, logit_bias=dict.fromkeys(ids, 100.0))
    output = vllm.llm.generate("<|user|>hello<|assistant|>", wanted, use_tqdm=False)[0]
    assert not set(output.outputs[0].token_ids) & set(ids)


def test_evaluation_answers_as_our_own_engine_does(vllm: Any, own: Engine, tmp_path: Path) -> None:
    from miniatures import miniatures

    from videollama2.evaluation.answering import Decoding
    from videollama2.evaluation.local import LocalModel
    from videollama2.evaluation.registry import find
    from videollama2.evaluation.run import Choice, read_questions

    models = [LocalModel("starter", vllm.config, engine) for engine in (own, vllm)]
    for name in ("mvbench", "clotho_aqa"):
        task, mini = find(name), miniatures()[name]
        data = mini.lay_out(tmp_path / name, task.folder)
        questions = read_questions(task, data, Choice(mini.split))
        mine, theirs = (model.answer(questions, Decoding(8)) for model in models)
        assert [(one.answers, one.failure) for one in mine] == [
            (one.answers, one.failure) for one in theirs
        ]
        assert [one.prompt_tokens for one in mine] == [one.prompt_tokens for one in theirs]
        assert any(one.answers for one in mine)
