"""Batches of mixed rows, and records that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from videollama2.checkpoints.load import load_model, load_processor
from videollama2.training.collate import (
    SKIPPED,
    Collator,
    RecordDataset,
    Row,
    RowMaker,
    pad_id_of,
)
from videollama2.training.errors import RecordError, TooManySkippedError
from videollama2.training.labels import IGNORED, ChatEncoder
from videollama2.training.mixture import Mixture
from videollama2.training.records import Record, record_from
from videollama2.training.skipped import Skipped, SkippedList


@pytest.fixture(scope="module")
def processor(tiny_folder: Path) -> Any:
    return load_processor(tiny_folder)


def records(folder: Path, *names: str) -> list[Record]:
    kinds = {".mp4": "video", ".mkv": "video", ".wav": "audio", ".png": "image"}
    found: list[Record] = []
    for index, name in enumerate(names):
        kind = kinds.get(Path(name).suffix)
        value: dict[str, Any] = {
            "id": name or "text",
            "conversations": [
                {"from": "human", "value": f"<{kind}>\nWhat?" if kind else "What?"},
                {"from": "gpt", "value": f"It is number {index}."},
            ],
        }
        if kind:
            value[kind] = str(folder / name)
        found.append(record_from(value, file="records.json", line=index + 1))
    return found


def maker(processor: Any, **options: Any) -> RowMaker:
    return RowMaker(processor, ChatEncoder(processor), **options)


def test_a_mixed_batch(processor: Any, media_folder: Path, tiny_folder: Path) -> None:
    """Rows alone and together give the same losses, so everything stands where it belongs."""
    names = ("clip.mp4", "", "tone.wav", "picture.png", "silent.mp4", "other.mp4")
    made = maker(processor)
    rows = [made.make(record) for record in records(media_folder, *names)]
    collate = Collator(pad_id_of(processor.tokenizer))
    batch = collate(rows)
    assert batch.pop(SKIPPED) == ()
    assert batch["pixel_values_videos"].shape == (3, 8, 3, 28, 28)
    assert len(batch["input_features"]) == 3  # two soundtracks and a sound
    assert batch["input_features_mask"].shape == batch["input_features"].shape[:2]
    for row, ids, labels, mask in zip(
        rows, batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True
    ):
        length = len(row.ids)
        assert ids[:length].tolist() == row.ids
        assert labels[:length].tolist() == row.labels
        assert mask.tolist() == [1] * length + [0] * (len(mask) - length)
        assert (labels[length:] == IGNORED).all()
    model = load_model(tiny_folder)
    with torch.no_grad():
        together = model(**batch, num_items_in_batch=1).loss
        alone = 0.0
        for row in rows:
            single = collate([row])
            single.pop(SKIPPED)
            alone += model(**single, num_items_in_batch=1).loss
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


def test_unreadable_records_are_left_out_and_listed(
    processor: Any, media_folder: Path, tmp_path: Path
) -> None:
    names = ("clip.mp4", "garbage.mp4", "nothing.mp4", "")
    found = records(media_folder, *names)
    dataset = RecordDataset([found], Mixture((4,)), [maker(processor)], 8)
    items = [dataset[position] for position in range(8)]
    left_out = [item for item in items if isinstance(item, Skipped)]
    assert len(left_out) == 4
    assert {item.id for item in left_out} == {"garbage.mp4", "nothing.mp4"}
    assert all(items[item.position] is item and item.reason for item in left_out)
    batch = Collator(0)(items)
    assert len(batch["input_ids"]) == 4
    assert batch[SKIPPED] == tuple(left_out)
    listed = SkippedList(tmp_path / "skipped.jsonl", 0.5, 8)
    listed.add(batch[SKIPPED], seen=8)
    lines = [json.loads(line) for line in listed.path.read_text().splitlines()]
    assert [line["line"] for line in lines] == [item.line for item in left_out]
    strict = SkippedList(tmp_path / "other.jsonl", 0.25, 8)
    with pytest.raises(TooManySkippedError, match="4 of 8 records") as caught:
        strict.add(batch[SKIPPED], seen=8)
    assert "\n" not in str(caught.value)


def test_a_list_goes_on_where_the_run_does(tmp_path: Path) -> None:
    path = tmp_path / "skipped.jsonl"
    first = SkippedList(path, 1.0, 100)
    first.restart(0)
    first.add([Skipped(n, f"r{n}", "f", n, "why") for n in (3, 8, 20)], seen=24)
    with path.open("a") as file:
        file.write('{"position": 2')  # a line that a killed run did not finish
    again = SkippedList(path, 1.0, 100)
    again.restart(16)
    assert again.count == 2
    assert [json.loads(line)["position"] for line in path.read_text().splitlines()] == [3, 8]


def test_nothing_left_to_learn(processor: Any, media_folder: Path) -> None:
    (clip,) = records(media_folder, "clip.mp4")
    whole = maker(processor).make(clip)
    with pytest.raises(RecordError, match="nothing is left to learn"):
        maker(processor, max_text_tokens=12).make(clip)
    with pytest.raises(RecordError, match="nothing is left to learn"):
        maker(processor, max_tokens=12).make(clip)
    shorter = maker(processor, max_tokens=len(whole.ids) - 3).make(clip)
    assert shorter.ids == whole.ids[:-3]


def test_a_batch_of_nothing_still_runs(tiny_folder: Path) -> None:
    batch = Collator(0)([Skipped(0, "a", "f", 1, "why")])
    assert len(batch.pop(SKIPPED)) == 1
    assert load_model(tiny_folder)(**batch, num_items_in_batch=1).loss == 0


def test_rows_are_plain(processor: Any, media_folder: Path) -> None:
    (clip,) = records(media_folder, "clip.mp4")
    row = maker(processor).make(clip)
    assert isinstance(row, Row)
    assert row.ids.count(processor.video_token_id) == 16
    assert row.ids.count(processor.audio_token_id) > 0
