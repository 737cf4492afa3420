"""Answers of any OpenAI-compatible server: ours, or another model's, a peer in the same table."""

from __future__ import annotations

import base64
import io
import time
import wave
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from videollama2.evaluation.answering import Decoding, missing, prompts_of, refused, unreadable
from videollama2.evaluation.client import ChatClient, Completion, RequestRefusedError
from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.replies import Reply
from videollama2.evaluation.task import MediaFile, Question
from videollama2.media.audio import read_audio
from videollama2.media.errors import MediaError
from videollama2.media.video import VideoClip, read_video

DEFAULT_FRAMES = 16
OURS = "videollama2"
"""Who owns the models of `videollama2 serve`, by its list of them."""
_AS_THEY_ARE = (".wav", ".mp3")
_ROOM = ("context_length", "max_tokens", "max_completion_tokens")


class Endpoint:
    """A server as an answerer.

    Silent clips are sent as short videos of `num_frames` frames, sampled here by the released rule
    over the question's time range: a server that takes as many sees exactly those. Clips that are
    heard are sent whole. Sounds are sent as WAV or MP3.

    Our own server (`ours`) gets what a model here would get: frames without loss, whole files with
    their time range, and how many frames are taken.
    """

    def __init__(
        self, client: ChatClient, num_frames: int | None = None, *, ours: bool = False
    ) -> None:
        self.name = client.model
        self.num_frames: int | None = num_frames or DEFAULT_FRAMES
        self._client = client
        self._ours = ours
        self._has_room = True

    @classmethod
    def connect(cls, client: ChatClient, num_frames: int | None = None) -> Endpoint:
        """Ask the server who it is, and how many frames its model takes of a clip.

        Raises:
            ServerError: it cannot be reached.
        """
        card = client.card()
        known: Any = card.get("num_frames")
        frames = num_frames or (known if isinstance(known, int) else None)
        return cls(client, frames, ours=card.get("owned_by") == OURS)

    def answer(self, questions: Sequence[Question], decoding: Decoding) -> list[Reply]:
        """A reply to each question, all asked at once.

        Raises:
            ServerError: the server is down.
        """
        with ThreadPoolExecutor(max(len(questions), 1)) as pool:
            waiting = [pool.submit(self._one, question, decoding) for question in questions]
            return [one.result() for one in waiting]

    def _one(self, question: Question, decoding: Decoding) -> Reply:
        absent = missing(question)
        if absent is not None:
            return absent
        began = time.perf_counter()
        try:
            prompts, notes = prompts_of(question, self.num_frames)
            parts = [self._part(medium, notes) for medium in question.media]
        except (MediaError, AnnotationError) as error:
            return unreadable(question, error)
        read = time.perf_counter()
        try:
            written = [self._ask(parts, prompt, decoding, notes) for prompt in prompts]
        except RequestRefusedError as error:
            return refused(question, str(error))
        ended = time.perf_counter()
        return Reply(
            question.id,
            prompts,
            tuple(one.text for one in written),
            media=written[0].media
            or tuple({"path": str(one.path), "kind": one.kind} for one in question.media),
            notes=tuple(dict.fromkeys(notes)),
            timings_ms={
                "read": round(1000 * (read - began), 1),
                "write": round(1000 * (ended - read), 1),
            },
            prompt_tokens=sum(one.prompt_tokens for one in written),
            generated_tokens=sum(one.generated_tokens for one in written),
        )

    def _ask(
        self, parts: Sequence[dict[str, Any]], prompt: str, decoding: Decoding, notes: list[str]
    ) -> Completion:
        settings: dict[str, Any] = {"temperature": decoding.temperature}
        if decoding.temperature > 0:
            settings |= {"top_p": decoding.top_p, "seed": decoding.seed}
        messages = [{"role": "user", "content": [*parts, {"type": "text", "text": prompt}]}]
        if self._has_room:
            try:
                return self._client.complete(
                    messages, max_tokens=decoding.max_new_tokens, **settings
                )
            except RequestRefusedError as refusal:
                if not _lacks_room(refusal):
                    raise
        completion = self._client.complete(messages, **settings)
        self._has_room = False
        notes.append(
            f"the server has no room for {decoding.max_new_tokens} tokens of answer: its own limit"
        )
        return completion

    def _part(self, medium: MediaFile, notes: list[str]) -> dict[str, Any]:
        path = medium.path
        if path is None:
            raise ValueError(f"{medium.wanted} is missing")
        if medium.kind == "audio":
            return self._whole(medium, path) if self._ours else _sound(medium, path)
        if medium.kind == "image":
            return _url("image", "image/jpeg", path.read_bytes())
        ranged = medium.start is not None or medium.end is not None
        if medium.sound is not False and path.is_file():
            if self._ours:
                return {**self._whole(medium, path), "num_frames": self.num_frames}
            if ranged:
                notes.append("the whole clip was sent, not its time range")
            return _url("video", "video/mp4", path.read_bytes())
        clip = read_video(path, num_frames=self.num_frames, start=medium.start, end=medium.end)
        part = _url("video", "video/mp4", video_of_frames(clip, lossless=self._ours))
        return {**part, "num_frames": len(clip.frames)} if self._ours else part

    def _whole(self, medium: MediaFile, path: Path) -> dict[str, Any]:
        """A file as it is, and the seconds of it that are meant: a part that our server takes."""
        part = _url(medium.kind, f"{medium.kind}/{path.suffix[1:] or 'mp4'}", path.read_bytes())
        limits = {"start": medium.start, "end": medium.end}
        return {**part, **{name: value for name, value in limits.items() if value is not None}}


def _lacks_room(refusal: RequestRefusedError) -> bool:
    """Whether the prompt and the longest answer are over the model's length together.

    Servers say so in their own words: "maximum context length", "max_tokens is too large".
    """
    said = f"{refusal.code} {refusal}".lower().replace(" ", "_")
    return any(word in said for word in _ROOM)


def video_of_frames(clip: VideoClip, *, lossless: bool = False) -> bytes:
    """An MP4 of a clip's sampled frames, as far apart in time as they were.

    `lossless` keeps every value (H.264 of RGB, which browsers do not show).
    """
    import av

    even = 1 if lossless else 2  # pixels share their colours two by two
    frames = [
        frame[: frame.shape[0] // even * even, : frame.shape[1] // even * even]
        for frame in clip.frames
    ]
    times = clip.timestamps_s
    span = times[-1] - times[0] if len(times) > 1 else 0.0
    rate = Fraction((len(frames) - 1) / span).limit_denominator(1000) if span > 0 else Fraction(1)
    file = io.BytesIO()
    library: Any = av
    with library.open(file, "w", format="mp4") as container:
        coder = "libx264rgb" if lossless else "libx264"
        stream = container.add_stream(coder, rate=max(rate, Fraction(1, 1000)))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "rgb24" if lossless else "yuv420p"
        stream.options = {"qp": "0", "preset": "fast"} if lossless else {"crf": "10"}
        for frame in frames:
            picture = library.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return file.getvalue()


def _sound(medium: MediaFile, path: Path) -> dict[str, Any]:
    whole = medium.start is None and medium.end is None
    ending = path.suffix.lower()
    if whole and ending in _AS_THEY_ARE:
        data, form = path.read_bytes(), ending[1:]
    else:
        data, form = _wav(medium), "wav"
    text = base64.b64encode(data).decode()
    return {"type": "input_audio", "input_audio": {"data": text, "format": form}}


def _wav(medium: MediaFile) -> bytes:
    sound = read_audio(medium.path, start=medium.start, end=medium.end)
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sound.sampling_rate)
        writer.writeframes((sound.waveform * 32767).round().astype("<i2").tobytes())
    return file.getvalue()


def _url(kind: str, form: str, data: bytes) -> dict[str, Any]:
    text = base64.b64encode(data).decode()
    return {"type": f"{kind}_url", f"{kind}_url": {"url": f"data:{form};base64,{text}"}}
