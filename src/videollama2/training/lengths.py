"""How many tokens each record becomes, told from what a check found: nothing is decoded again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from videollama2.assistant import resolve
from videollama2.checkpoints.load import load_processor
from videollama2.processing.fbank import SAMPLING_RATE, num_fbank_frames
from videollama2.processing.parts import kind_of
from videollama2.training.check import Entry, Findings, key_of
from videollama2.training.errors import RecordError
from videollama2.training.inspection import Inspection
from videollama2.training.labels import ChatEncoder, label
from videollama2.training.records import Medium, Record


@dataclass
class Lengths:
    """Text tokens of each record as it is read; its media's tokens once they are known."""

    processor: Any
    encoder: ChatEncoder
    _text: list[tuple[Entry, int]] = field(default_factory=list[tuple[Entry, int]])
    _media: dict[str, Medium] = field(default_factory=dict[str, Medium])

    @classmethod
    def of(cls, model: str) -> Lengths:
        """For a checkpoint by folder or hub id. Raises `CheckpointError` where it has none."""
        processor: Any = load_processor(resolve(model))
        return cls(processor, ChatEncoder(processor))

    @property
    def num_frames(self) -> int:
        """Frames that the model takes of a video."""
        return self.processor.video_processor.num_frames

    def note(self, entry: Entry, record: Record) -> None:
        """Count a record's text; one that does not fit the chat template has no length."""
        try:
            labelled = label(record, self.encoder)
        except RecordError:
            return
        self._text.append((entry, len(labelled.ids) - len(labelled.places)))
        for medium in record.media:
            self._media[key_of(medium)] = _without_bytes(medium)

    def counts(self, findings: Findings) -> list[int]:
        """Tokens of every record whose media can be read."""
        media = {
            key: self._tokens(medium, findings.media[key])
            for key, medium in self._media.items()
            if not findings.media[key].problem
        }
        return [
            text + sum(media[key] for key in entry.media)
            for entry, text in self._text
            if all(key in media for key in entry.media)
        ]

    def _tokens(self, medium: Medium, found: Inspection) -> int:
        counter, loader = self.processor.counter, self.processor.loader
        kind = kind_of(medium)
        if kind == "image":
            return counter.image()
        tokens = 0
        if kind == "video":
            wanted = getattr(medium, "num_frames", None) or self.num_frames
            tokens = counter.video(loader.frames_used(found.frames, wanted))
        deaf = not loader.has_audio or getattr(medium, "sound", None) is False
        if deaf or (found.sound_s is None and loader.mode == "native"):
            return tokens
        heard = loader.samples_heard(round((found.sound_s or 0.0) * SAMPLING_RATE))
        return tokens + counter.audio(num_fbank_frames(heard))


def _without_bytes(medium: Medium) -> Medium:
    return replace(medium, source="")
