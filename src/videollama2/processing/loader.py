"""One medium -> the encoders' inputs: read, sampled, resized, heard, and reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import torch

from videollama2.media.audio import Sound, read_audio, read_waveform
from videollama2.media.errors import (
    CorruptMediaError,
    EmptyMediaError,
    EmptyRangeError,
    NoAudioStreamError,
    TruncatedMediaError,
)
from videollama2.media.image import is_picture, read_image
from videollama2.media.limits import DEFAULT_LIMITS, MediaLimits
from videollama2.media.sampling import MAX_FRAMES, soundtrack_slices
from videollama2.media.source import Source, open_source
from videollama2.media.video import VideoClip, read_video

from .fbank import NUM_MEL_BINS, SAMPLING_RATE, fbank, samples_for_frames
from .parts import AudioInput, ImageInput, LoadedMedia, MediaReport, Part, VideoInput
from .pixels import PixelSettings, black_frame, to_pixels
from .sound import (
    WINDOW_S,
    WINDOW_SAMPLES,
    Precise,
    Waveform,
    native_window,
    released_file_window,
    released_soundtrack_window,
)

# Full scale is 1. What is not finite would stay in a cache of keys and values, beside others' own.
LOUDEST = 2.0**20

MediaMode = Literal["native", "released"]
Frames = list[np.ndarray[Any, np.dtype[np.uint8]]]
BROKEN = (TruncatedMediaError, CorruptMediaError)


@dataclass(frozen=True)
class MediaLoader:
    """Everything that decides how media are read for one model.

    `min_frames` is the fewest frames the connector takes; `has_audio` whether the model has ears;
    `patch` the filter bank frames (and mel bins) of one audio token; `max_audio_s` the longest
    sound that is heard in native mode. `device` is where pixels and filter bank are made (None:
    the CPU).
    """

    image_settings: PixelSettings
    video_settings: PixelSettings
    num_frames: int
    min_frames: int = 1
    mode: MediaMode = "native"
    has_audio: bool = False
    num_mel_bins: int = NUM_MEL_BINS
    patch: int = 16
    max_audio_s: float = WINDOW_S
    limits: MediaLimits = field(default=DEFAULT_LIMITS)
    device: torch.device | None = None

    def load(self, part: Part) -> LoadedMedia:
        """Read and prepare one medium; what is loaded already is returned as it is.

        Raises `media.MediaError` for what cannot be read, `ValueError` for sound asked of a model
        without ears.
        """
        if isinstance(part, LoadedMedia):
            return part
        if isinstance(part, VideoInput):
            return self._video(part)
        return self._image(part) if isinstance(part, ImageInput) else self._audio(part)

    def load_soundtrack(self, part: VideoInput) -> torch.Tensor | None:
        """Log mel energies (frames, mel bins) of a video's sound alone; None where none is heard.

        Raises as `load` does.
        """
        source = open_source(part.source, limits=self.limits)
        return self._soundtrack(part, source, source.name)[0]

    def load_read(self, clip: VideoClip, sound: Sound | None) -> LoadedMedia:
        """Prepare the frames and the sound of a stretch of a clip that were read together."""
        frames, notes = self.frames_for(clip.frames, self.num_frames)
        features, heard, sound_notes = None, 0.0, list[str]()
        if self.has_audio and sound is not None:
            features, heard, sound_notes = self._listen(sound)
        elif self.has_audio and self.mode == "released":
            features = self._features(clip.name, np.zeros(WINDOW_SAMPLES, dtype=np.float32))
            sound_notes = ["It has no soundtrack: silence is heard."]
        report = MediaReport(
            clip.name,
            "video",
            clip.duration_s,
            len(clip.frames),
            heard,
            (*clip.notes, *notes, *sound_notes),
            clip.timestamps_s,
        )
        pixels = to_pixels(frames, self.video_settings, self.device)
        return LoadedMedia("video", pixels, features, report)

    # --- pictures ---

    def _image(self, part: ImageInput) -> LoadedMedia:
        source = open_source(_plain(part.source), limits=self.limits)
        frame = read_image(source, limits=self.limits)
        pixels = to_pixels([frame], self.image_settings, self.device)[0]
        return LoadedMedia("image", pixels, None, MediaReport(source.name, "image", None, 1, 0.0))

    def _video(self, part: VideoInput) -> LoadedMedia:
        if part.sound and not self.has_audio:
            raise ValueError("sound was asked for, but this model has no audio branch")
        wanted = part.num_frames or self.num_frames
        if isinstance(part.source, VideoClip):
            source, clip = None, part.source
        else:
            source = open_source(_plain(part.source), limits=self.limits)
            clip = read_video(
                source,
                num_frames=None if part.sampling == "fps" else wanted,
                start=part.start,
                end=part.end,
                allow_partial=part.allow_partial,
                limits=self.limits,
            )
        frames, notes = self.frames_for(clip.frames, None if part.sampling == "fps" else wanted)
        features, sound_s, sound_notes = self._soundtrack(part, source, clip.name)
        report = MediaReport(
            clip.name,
            "video",
            clip.duration_s,
            len(clip.frames),
            sound_s,
            (*clip.notes, *notes, *sound_notes),
            clip.timestamps_s,
        )
        pixels = to_pixels(frames, self.video_settings, self.device)
        return LoadedMedia("video", pixels, features, report)

    def frames_for(self, frames: Frames, wanted: int | None) -> tuple[Frames, list[str]]:
        """The frames that the tower sees, and what was done to them: `frames_used` in frames."""
        shown, notes = list(frames), list[str]()
        if self.mode == "released" and len(shown) > MAX_FRAMES:
            notes.append(f"Only the first {MAX_FRAMES} of {len(shown)} frames are used.")
            shown = shown[:MAX_FRAMES]
        if self.mode == "released" and wanted:
            missing = min(wanted, MAX_FRAMES) - len(shown)
            if missing > 0:
                notes.append(f"{missing} black frames were added to {len(shown)}.")
                shown += [black_frame(shown[-1])] * missing
        total = self.frames_used(len(shown), wanted)
        if len(shown) < total:
            said = "One frame was doubled" if len(shown) == 1 else "The last frame was repeated"
            notes.append(f"{said}: this connector joins {self.min_frames} frames into one.")
            shown += [shown[-1]] * (total - len(shown))
        return shown, notes

    def frames_used(self, frames: int, wanted: int | None) -> int:
        """How many frames reach the tower when a clip gives `frames` of them."""
        if self.mode == "released":
            frames = min(max(frames, wanted or 0), MAX_FRAMES)
        return max(frames, self.min_frames)

    # --- sound ---

    def samples_heard(self, samples: int) -> int:
        """How many samples at 16 kHz reach the filter bank when a sound has `samples` of them."""
        if self.mode == "released":
            return WINDOW_SAMPLES
        longest = int(self.max_audio_s * SAMPLING_RATE)
        return max(min(samples, longest), samples_for_frames(self.patch))

    def _soundtrack(
        self, part: VideoInput, source: Source | None, name: str
    ) -> tuple[torch.Tensor | None, float, list[str]]:
        """(log mel energies or None, seconds heard, notes) of a video."""
        if not self.has_audio or part.sound is False:
            return None, 0.0, []
        if source is None or source.frames is not None:
            if part.sound:
                raise NoAudioStreamError(
                    name, "frames have no soundtrack", "Pass the sound as an audio of its own"
                )
            return None, 0.0, []
        try:
            sound = self._read_soundtrack(part, source)
        except (NoAudioStreamError, EmptyMediaError, EmptyRangeError, *BROKEN) as error:
            if part.sound or (isinstance(error, BROKEN) and not part.allow_partial):
                raise
            none = "It has no soundtrack"
            if isinstance(error, BROKEN):
                none = f"Its soundtrack cannot be read ({error.reason})"
            elif not isinstance(error, NoAudioStreamError):
                none = f"Its soundtrack is empty here ({error.reason})"
            if self.mode == "native":
                return None, 0.0, [f"{none}."]
            silence = np.zeros(WINDOW_SAMPLES, dtype=np.float32)
            return self._features(name, silence), 0.0, [f"{none}: silence is heard."]
        return self._listen(sound)

    def _listen(self, sound: Sound) -> tuple[torch.Tensor, float, list[str]]:
        if self.mode == "released":
            heard = _seconds_covered(len(sound.waveform))
            window = released_soundtrack_window(sound.waveform)
            return self._features(sound.name, window), heard, [*sound.notes]
        features, heard, notes = self._native(sound)
        return features, heard, [*sound.notes, *notes]

    def _read_soundtrack(self, part: VideoInput, source: Source) -> Sound:
        if source.is_folder or is_picture(source.head()):
            raise NoAudioStreamError(
                source.name, "pictures have no soundtrack", "Pass the sound as an audio of its own"
            )
        return read_audio(
            source,
            sampling_rate=SAMPLING_RATE,
            start=None if part.start is None else max(part.start, 0.0),
            end=part.end,
            most_s=self._most_s,
            allow_partial=part.allow_partial,
            limits=self.limits,
        )

    def _audio(self, part: AudioInput) -> LoadedMedia:
        if not self.has_audio:
            raise ValueError("a sound was passed, but this model has no audio branch")
        if self.mode == "released":
            return self._released_audio(part)
        sound = self._sound(part)
        features, heard, notes = self._native(sound)
        report = MediaReport(
            sound.name, "audio", sound.duration_s + sound.left_s, 0, heard, (*sound.notes, *notes)
        )
        return LoadedMedia("audio", None, features, report)

    def _sound(self, part: AudioInput) -> Sound:
        given: Any = part.source
        if isinstance(given, (np.ndarray, torch.Tensor)):
            samples = _samples(part)
            given = Sound("samples", samples, part.sampling_rate, 0.0)
        if isinstance(given, Sound):
            rate, name = given.sampling_rate, given.name
            if rate != SAMPLING_RATE:
                raise ValueError(f"samples are taken at {SAMPLING_RATE} Hz, these are at {rate} Hz")
            waveform = _cut(name, given.waveform, rate, part.start, part.end)
            return Sound(name, waveform, rate, len(waveform) / rate, given.notes)
        return read_audio(
            part.source,
            sampling_rate=SAMPLING_RATE,
            start=part.start,
            end=part.end,
            most_s=self._most_s,
            allow_partial=part.allow_partial,
            limits=self.limits,
        )

    @property
    def _most_s(self) -> float | None:
        """Sound beyond this is not heard and need not be decoded; None: it takes part."""
        return None if self.mode == "released" else self.max_audio_s

    def _released_audio(self, part: AudioInput) -> LoadedMedia:
        notes: list[str] = []
        if isinstance(part.source, Sound):
            sound = part.source
            name, samples, rate = sound.name, sound.waveform, sound.sampling_rate
            notes += sound.notes
        elif isinstance(part.source, (np.ndarray, torch.Tensor)):
            name, samples, rate = "samples", _samples(part), part.sampling_rate
        else:
            source = open_source(part.source, limits=self.limits)
            name, partial = source.name, part.allow_partial
            samples, rate = read_waveform(
                source, allow_partial=partial, limits=self.limits, notes=notes
            )
        samples = _cut(name, samples, rate, part.start, part.end)
        duration = len(samples) / rate
        heard, more = self._heard(duration, WINDOW_S)
        notes += more
        features = self._features(name, released_file_window(samples, rate))
        return LoadedMedia(
            "audio", None, features, MediaReport(name, "audio", duration, 0, heard, tuple(notes))
        )

    def _native(self, sound: Sound) -> tuple[torch.Tensor, float, list[str]]:
        seconds = len(sound.waveform) / SAMPLING_RATE + sound.left_s
        heard, notes = self._heard(seconds, self.max_audio_s)
        window = native_window(sound.waveform, self.max_audio_s, self.patch)
        return self._features(sound.name, window), heard, notes

    def _heard(self, duration: float, longest: float) -> tuple[float, list[str]]:
        if duration <= longest:
            return duration, []
        return longest, [f"Only the first {longest:g} s of {duration:.1f} s of sound are heard."]

    def _features(self, name: str, window: Waveform | Precise) -> torch.Tensor:
        if not (np.abs(window) <= LOUDEST).all():
            raise CorruptMediaError(
                name, "its sound holds samples that are no numbers, or far beyond full scale"
            )
        return fbank(_tensor(window).to(self.device), self.num_mel_bins)


_tensor = cast(Callable[[Any], torch.Tensor], torch.from_numpy)  # pyright: ignore[reportUnknownMemberType]


def _plain(source: Any) -> Any:
    """A tensor of pictures (..., H, W, 3) or (..., 3, H, W) as an array, channels last."""
    if not isinstance(source, torch.Tensor):
        return source
    if source.shape[-1] != 3 and source.ndim >= 3:
        source = source.movedim(-3, -1)
    return np.ascontiguousarray(source.cpu().numpy())


def _cut(
    name: str, samples: Waveform, rate: int, start: float | None, end: float | None
) -> Waveform:
    """The samples between two seconds; raises `EmptyRangeError` where there are none."""
    first = 0 if start is None else round(start * rate)
    stop = len(samples) if end is None else round(end * rate)
    if first < 0 or first >= min(stop, len(samples)):
        raise EmptyRangeError(
            name,
            f"from {first / rate:g} s to {stop / rate:g} s holds none of its "
            f"{len(samples) / rate:.3f} s",
            "Pass a start before the end, both within the sound",
        )
    return samples[first:stop]


def _samples(part: AudioInput) -> Waveform:
    """Samples (samples,) as float32; (samples, channels) gives the first channel."""
    given: Any = part.source
    array = np.asarray(given.cpu() if isinstance(given, torch.Tensor) else given)
    if array.ndim == 2:
        array = array[:, 0]
    if array.ndim != 1 or not len(array) or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"samples are a float array (samples,) or (samples, channels), "
            f"not {array.shape} of {array.dtype}"
        )
    return array.astype(np.float32)


def _seconds_covered(samples: int) -> float:
    """Seconds of a soundtrack that lie in at least one of the released clips."""
    covered, end = 0, 0
    for first, last in soundtrack_slices(samples):
        covered += max(0, min(last, samples) - max(first, end))
        end = max(end, min(last, samples))
    return covered / SAMPLING_RATE
