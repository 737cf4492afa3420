"""Records -> batches: media read, text labelled, rows padded on the right or packed.

Shapes: B rows, L tokens; media items over the whole batch in the order of their placeholders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

from videollama2.media.errors import MediaError
from videollama2.processing.batch import media_tensors, pad_rows
from videollama2.processing.parts import LoadedMedia
from videollama2.training.errors import RecordError
from videollama2.training.features import FeatureStore
from videollama2.training.labels import (
    IGNORED,
    ChatEncoder,
    LabelForm,
    check_unheard,
    expand,
    label,
    truncate,
)
from videollama2.training.metrics import Counted
from videollama2.training.mixture import Mixture
from videollama2.training.packing import Packing
from videollama2.training.records import Record
from videollama2.training.skipped import Skipped

# What a batch says of itself; taken off before the model sees it.
SKIPPED = "skipped"  # the records that were left out
COUNTED = "counted"  # as `metrics.Counted`


@dataclass(frozen=True)
class Row:
    """One record, ready: ids and labels of the same length, and its media."""

    ids: list[int]
    labels: list[int]
    media: tuple[LoadedMedia, ...]


@dataclass(frozen=True)
class RowMaker:
    """Everything that turns a record into a row.

    `max_text_tokens` counts a medium as one, as released; `max_tokens` counts all of its tokens.
    `features` gives what frozen encoders made of media instead of reading them.
    """

    processor: Any
    encoder: ChatEncoder
    form: LabelForm = "answers"
    max_text_tokens: int = 2048
    max_tokens: int | None = None
    features: FeatureStore | None = None

    def make(self, record: Record) -> Row:
        """Read a record's media and label its text.

        Raises:
            MediaError: a medium cannot be read.
            RecordError: the record does not fit the form, or nothing of its answers is left
                after cutting.
        """
        if not self.processor.has_audio:
            check_unheard(record)
        labelled = truncate(label(record, self.encoder, self.form), self.max_text_tokens)
        load = self.processor.load_media if self.features is None else self.features.load
        media = [load(medium) for medium in labelled.media]
        runs = [self.processor.counter.runs(medium) for medium in media]
        cut = expand(labelled, runs, self.encoder.token_ids, self.max_tokens)
        if all(learned == IGNORED for learned in cut.labels[1:]):
            raise record.error(
                f"nothing is left to learn of its {len(labelled.ids)} text tokens: "
                "raise data.max_text_tokens or data.max_tokens"
            )
        return Row(cut.ids, cut.labels, tuple(media[: cut.media]))


class RecordDataset(Dataset[Row | Skipped]):
    """The records of a run by position; what cannot be used comes as `Skipped`."""

    def __init__(
        self,
        lists: Sequence[Sequence[Record]],
        mixture: Mixture,
        makers: Sequence[RowMaker],
        length: int,
    ) -> None:
        self.lists, self.mixture, self.makers, self.length = lists, mixture, makers, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Row | Skipped:
        chosen, place = self.mixture.at(index)
        try:
            record = self.lists[chosen][place]
        except RecordError as error:  # of a shard
            return Skipped(index, f"number {place}", error.file, error.line, str(error))
        try:
            return self.makers[chosen].make(record)
        except (MediaError, RecordError) as error:
            return Skipped(index, record.id, record.file, record.line, str(error))


@dataclass(frozen=True)
class Collator:
    """Rows -> one batch for the model's `forward`.

    Gives `input_ids`, `labels` (B, L), the media as `processing.batch.media_tensors`, the records
    left out under `SKIPPED` and what there is under `COUNTED`. Each record is a row of its own with
    an `attention_mask` (B, L); with `packing` records share rows, told apart by `position_ids`
    (B, L) that begin again. A batch of which nothing is left is one row of padding that teaches
    nothing, so that every device has its turn.
    """

    pad_id: int
    packing: Packing | None = None

    def __call__(self, items: Sequence[Row | Skipped]) -> dict[str, Any]:
        """Rows and left-out records of one batch."""
        rows = [item for item in items if isinstance(item, Row)]
        skipped = tuple(item for item in items if isinstance(item, Skipped))
        lengths = tuple(len(row.ids) for row in rows)
        rows = rows or [Row([self.pad_id] * 2, [IGNORED] * 2, ())]
        if self.packing is None:
            layout = [[row] for row in rows]
        else:
            packs = self.packing.rows([len(row.ids) for row in rows])
            layout = [[rows[index] for index in pack] for pack in packs]
        input_ids, mask = pad_rows(
            [[token for row in pack for token in row.ids] for pack in layout], self.pad_id, "right"
        )
        length = input_ids.shape[1]
        apart = (
            {"attention_mask": mask}
            if self.packing is None
            else {"position_ids": _positions(layout, length)}
        )
        return {
            "input_ids": input_ids,
            **apart,
            "labels": _labels(layout, length),
            **media_tensors([one for pack in layout for row in pack for one in row.media]),
            SKIPPED: skipped,
            COUNTED: Counted(lengths, input_ids.numel()),
        }


def _labels(layout: Sequence[Sequence[Row]], length: int) -> torch.Tensor:
    """(B, L): nothing foretells a record's first token, whatever lies before it in the row."""
    labels = [[label for row in pack for label in (IGNORED, *row.labels[1:])] for pack in layout]
    return torch.tensor([row + [IGNORED] * (length - len(row)) for row in labels])


def _positions(layout: Sequence[Sequence[Row]], length: int) -> torch.Tensor:
    """(B, L), from 0 on in each record, and again in what pads a row."""
    positions = [[place for row in pack for place in range(len(row.ids))] for pack in layout]
    return torch.tensor([[*row, *range(length - len(row))] for row in positions])


def pad_id_of(tokenizer: Any) -> int:
    """What rows are padded with; as released, the unknown token where there is no padding one."""
    for name in ("pad_token_id", "unk_token_id", "eos_token_id"):
        token_id: int | None = getattr(tokenizer, name, None)
        if token_id is not None:
            return token_id
    return 0
