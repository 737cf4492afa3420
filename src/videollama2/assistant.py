"""`VideoLlama2`: load once; ask, stream, chat, batch. The face for people."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from videollama2.answers import Answer, Request
from videollama2.checkpoints.errors import CheckpointError
from videollama2.conversation import Conversation
from videollama2.engine import AnswerStream, Engine, Medium, user_message
from videollama2.generation.prompt import Prompt
from videollama2.generation.settings import SamplingSettings
from videollama2.media.errors import MediaError
from videollama2.processing.parts import AudioInput

STARTER = "starter"


class VideoLlama2:
    """A model that watches, hears and answers.

    ```python
    model = VideoLlama2.from_pretrained("starter")
    model.ask("What is heard, and who makes it?", video="clip.mp4")
    ```
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        name: str = "",
        num_frames: int | None = None,
        load_ms: float = 0.0,
        compile_steps: str | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.name = name
        self.compile_steps = compile_steps
        self._engine = Engine(
            model,
            processor,
            num_frames=num_frames,
            load_ms=load_ms,
            compile_steps=compile_steps,
        )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str] = STARTER,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        num_frames: int | None = None,
        compile_steps: str | None = None,
        **options: Any,
    ) -> VideoLlama2:
        """Load "starter" (the small model that comes along), a folder, or a hub id of any layout.

        `device` None takes a GPU where there is one. `dtype` None computes in bfloat16 on a GPU and
        in float32 elsewhere. `num_frames` frames are taken of each clip (None: as trained).
        `compile_steps` "inductor" has torch compile the steps of answers, once for all layers.
        `options` go to `checkpoints.load.load_model`: device_map, attn_implementation, where parts
        come from that the checkpoint does not hold (language_model, vision_tower, audio_tower), ...

        Raises:
            CheckpointError: a file or part is missing or damaged, or parameters do not fit.
            ValueError: the device is not here.
        """
        from videollama2.checkpoints.load import load_model
        from videollama2.checkpoints.processor import load_processor

        began = time.perf_counter()
        path = resolve(name_or_path)
        if device is None and options.get("device_map") is None:
            device = best_device()
        if device is not None:
            check_device(device)
        if dtype is None:
            dtype = best_dtype(device)
        model = load_model(path, device=device, dtype=dtype, **options)
        processor = load_processor(path, **_hub_options(options))
        load_ms = 1000 * (time.perf_counter() - began)
        name = os.fspath(name_or_path)
        return cls(
            model,
            processor,
            name=name,
            num_frames=num_frames,
            load_ms=load_ms,
            compile_steps=compile_steps,
        )

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self.processor.tokenizer

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.model.device

    def ask(
        self,
        question: str,
        *,
        video: Any = None,
        image: Any = None,
        audio: Any = None,
        media: Sequence[Any] | None = None,
        sound: bool | None = None,
        start: float | None = None,
        end: float | None = None,
        num_frames: int | None = None,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 0.9,
        seed: int | None = None,
        stop_strings: Sequence[str] = (),
        allow_partial: bool = False,
    ) -> Answer:
        """Answer a question about a video, an image, a sound, several of them, or none.

        Media are paths, URLs, `data:` URIs, bytes, arrays (T, H, W, 3), lists of frames; `media`
        takes any number, whose kinds are found out. `start` and `end` are seconds. `sound`: None
        hears the soundtrack if there is one and the model has ears, True insists on it, False
        leaves it out. `temperature` 0 is greedy; above 0 `top_p` and `seed` hold. `allow_partial`
        answers from what a broken file still holds. The answer is a string that also says what was
        taken in and what it took (see `Answer`).

        Raises:
            MediaError: a medium cannot be read; it says which, why, and what to do.
            ValueError: a setting is out of its range.
        """
        stream = self.stream(
            question,
            video=video,
            image=image,
            audio=audio,
            media=media,
            sound=sound,
            start=start,
            end=end,
            num_frames=num_frames,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            stop_strings=stop_strings,
            allow_partial=allow_partial,
        )
        for _ in stream:
            pass
        return stream.answer

    def stream(
        self,
        question: str,
        *,
        video: Any = None,
        image: Any = None,
        audio: Any = None,
        media: Sequence[Any] | None = None,
        sound: bool | None = None,
        start: float | None = None,
        end: float | None = None,
        num_frames: int | None = None,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 0.9,
        seed: int | None = None,
        stop_strings: Sequence[str] = (),
        allow_partial: bool = False,
    ) -> AnswerStream:
        """As `ask`, but gives the answer in pieces, as it is written: an iterator of strings.

        Media are read before it returns. No piece ends within a character. Once the iterator has
        ended (or was closed), its `answer` is what `ask` would have returned.
        """
        settings = SamplingSettings(
            max_new_tokens, temperature, top_p, seed=seed, stop_strings=tuple(stop_strings)
        )
        request = Request(
            question,
            video,
            image,
            audio,
            tuple(media or ()),
            sound,
            start,
            end,
            num_frames,
            allow_partial,
        )
        prompt, taken_in = self._prepare(request)
        return self._engine.stream(prompt, taken_in, settings)

    def forget(self) -> None:
        """Give up the memory in which clips and conversations are kept for the next question."""
        self._engine.forget()

    def chat(self) -> Conversation:
        """Begin a conversation: turns know of each other, and each clip is encoded once."""
        return Conversation(self._engine)

    def batch(
        self,
        requests: Iterable[Request | Mapping[str, Any] | str],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 0.9,
        seed: int | None = None,
        batch_size: int = 8,
    ) -> list[Answer | MediaError]:
        """Answer many requests: text, image, audio, video and audio-visual ones mixed.

        A request is a `Request`, its fields as a dict, or a question alone. Each is answered as
        `ask` answers it, `batch_size` at a time. One whose medium cannot be read gets the
        `MediaError` in its place, and does not touch the others.

        Raises:
            ValueError: a request or setting that makes no sense; nothing is then answered.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: it must be at least 1")
        common = SamplingSettings(max_new_tokens, temperature, top_p, seed=seed)
        wanted = [Request.of(request) for request in requests]
        answers: list[Answer | MediaError] = []
        for first in range(0, len(wanted), batch_size):
            answers += self._batch(wanted[first : first + batch_size], common)
        return answers

    def tag_sound(
        self,
        audio: Any,
        top: int = 5,
        *,
        start: float | None = None,
        end: float | None = None,
        allow_partial: bool = False,
    ) -> list[tuple[str | int, float]]:
        """The `top` likeliest sound classes as (name, or index where it has none; probability).

        Raises:
            MediaError: the sound cannot be read.
            ValueError: the model has no audio branch, or its encoder no tag head.
        """
        part = AudioInput(audio, start, end, allow_partial=allow_partial)
        features: Any = self.processor.load_media(part).features
        with torch.inference_mode():
            item = features[None].to(self.model.device, self.model.dtype)
            probabilities = self.model.tag_sound(item)[0].float()
        values, places = probabilities.topk(min(top, len(probabilities)))
        names = sound_class_names(self.model.config.audio_config)
        pairs: list[tuple[int, float]] = [*zip(places.tolist(), values.tolist(), strict=True)]
        return [(names.get(place, place), value) for place, value in pairs]

    def _prepare(self, request: Request) -> tuple[Prompt, list[Medium]]:
        media = self._engine.take_in(self._engine.parts(request))
        return self._engine.prompt([user_message(request.question, media)], media), media

    def _batch(
        self, requests: Sequence[Request], common: SamplingSettings
    ) -> list[Answer | MediaError]:
        answers: list[Answer | MediaError | None] = [None] * len(requests)
        rows: list[tuple[int, Prompt, list[Medium], SamplingSettings]] = []
        for place, request in enumerate(requests):
            try:
                prompt, media = self._prepare(request)
            except MediaError as error:
                answers[place] = error
            else:
                rows.append((place, prompt, media, request.settings or common))
        if rows:
            writing = self._engine.writer.write(
                [row[1] for row in rows], [row[3] for row in rows], self._engine.prefix
            )
            for _ in writing:
                pass
            for (place, _, media, _), written in zip(rows, writing.results(), strict=True):
                answers[place] = self._engine.answer(written, media)
        return [answer for answer in answers if answer is not None]


def resolve(name_or_path: str | os.PathLike[str]) -> str:
    """The folder of "starter"; any other name as it is.

    Raises:
        CheckpointError: this installation has no starter.
    """
    if os.fspath(name_or_path) != STARTER:
        return os.fspath(name_or_path)
    folder = Path(__file__).parent / STARTER
    if not (folder / "config.json").is_file():
        raise CheckpointError(folder, "the starter is not here", "Build it with `make starter`")
    return str(folder)


def best_device() -> str:
    """A GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_device(device: str | torch.device) -> None:
    """Say at once where a device is not there.

    Raises:
        ValueError: torch knows no such device, or this machine has none.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"device {str(device)!r} is not here ({reason}): try cpu") from error


def best_dtype(device: str | torch.device | None) -> torch.dtype:
    """bfloat16 on a GPU (and where accelerate decides on the device), float32 elsewhere."""
    kind = best_device() if device is None else torch.device(device).type
    return torch.bfloat16 if kind == "cuda" else torch.float32


def sound_class_names(audio_config: Any) -> dict[int, str]:
    """Class -> name, where the config has names of its own."""
    names: dict[int, str] = getattr(audio_config, "id2label", None) or {}
    made_up = all(name == f"LABEL_{index}" for index, name in names.items())
    return {} if made_up else {int(index): name for index, name in names.items()}


def _hub_options(options: Mapping[str, Any]) -> dict[str, Any]:
    names = ("revision", "cache_dir", "token", "local_files_only")
    names += ("language_model", "vision_tower")
    return {name: options[name] for name in names if name in options}
