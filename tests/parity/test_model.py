"""The model computes what the released code computed, stage by stage, on every recorded checkpoint.

Tolerances: tensors 1e-4 absolute plus relative, tokens exactly, loss 1e-5, gradient norms 1e-3
relative (float32 on a CPU). A recording may leave any output out: what it holds is compared, and a
tensor that no test here reads is named in a warning.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from videollama2 import VideoLlama2ForConditionalGeneration
from videollama2.checkpoints.names import to_released

# What the recordings write where a medium stands, and whose place it is in ours.
RELEASED_IDS = {-200: "image", -201: "video", -202: "audio"}
IGNORED = -100
NEVER = -1  # as an end token: the recordings go on past the end of an answer
INPUTS = ("video", "video2", "image", "fbank", "fbank2")
STAGES = (
    "vision_features",
    "video_tokens",
    "image_tokens",
    "audio_features",
    "audio_tokens",
    "audio_tag_probabilities",
)
QUESTIONS = ("video", "image", "audio", "audio_video")
OUTPUTS = ("inputs_embeds", "logits", "generated")
READ = re.compile(
    rf"{'|'.join(INPUTS + STAGES)}|({'|'.join(QUESTIONS)})\.(input_ids|{'|'.join(OUTPUTS)})"
    r"|batch\.(input_ids|labels|loss|grad_norm\..+)"
)


class Recording:
    """One released-layout checkpoint, loaded, beside what the released code computed with it."""

    def __init__(self, folder: Path) -> None:
        self.model = VideoLlama2ForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32
        ).eval()
        self.expected = load_file(folder / "expected.safetensors")

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.expected[name]

    def features(self, row: dict[str, str]) -> list[tuple[str, torch.Tensor]]:
        """(kind, tokens) of each stream of an item: {"video": input name, "audio": input name}."""
        model, streams = self.model, []
        if "video" in row:
            video = model.get_video_features(self[row["video"]][None]).pooler_output[0]
            streams.append(("video", video))
        if "image" in row:
            image = model.get_image_features(self[row["image"]]).pooler_output[0]
            streams.append(("image", image))
        if "audio" in row:
            audio = model.get_audio_features(self[row["audio"]]).pooler_output[0]
            streams.append(("audio", audio))
        return streams

    def batch(
        self, ids: torch.Tensor, labels: torch.Tensor | None, rows: list[dict[str, str]]
    ) -> dict[str, Any]:
        """The rows as `forward` takes them: runs of placeholders, right padding, media tokens."""
        features: dict[str, list[torch.Tensor]] = {}
        expanded: list[torch.Tensor] = []
        targets: list[torch.Tensor] = []
        for number, row in enumerate(rows):
            streams = self.features(row)
            for kind, tokens in streams:
                features.setdefault(f"{kind}_features", []).append(tokens)
            run = torch.cat(
                [
                    torch.full((tokens.shape[0],), getattr(self.model.config, f"{kind}_token_id"))
                    for kind, tokens in streams
                ]
            )
            (place,) = (ids[number] < 0).nonzero()[0].tolist()
            assert RELEASED_IDS[int(ids[number, place])] in row
            expanded.append(torch.cat([ids[number, :place], run, ids[number, place + 1 :]]))
            if labels is not None:
                hidden = torch.full((len(run),), IGNORED)
                given = labels[number]
                targets.append(torch.cat([given[:place], hidden, given[place + 1 :]]))
        pad = torch.nn.utils.rnn.pad_sequence
        lengths = torch.tensor([len(row) for row in expanded])
        inputs = {
            "input_ids": pad(expanded, batch_first=True),
            "attention_mask": (torch.arange(lengths.max()) < lengths[:, None]).long(),
            **features,
        }
        if labels is not None:
            inputs["labels"] = pad(targets, batch_first=True, padding_value=IGNORED)
        return inputs

    def question(self, name: str) -> dict[str, Any]:
        """The inputs of a recorded question, `audio_video` being `video` with `fbank2`."""
        row = {
            "video": {"video": "video"},
            "image": {"image": "image"},
            "audio": {"audio": "fbank"},
            "audio_video": {"video": "video", "audio": "fbank2"},
        }[name]
        return self.batch(self[f"{name}.input_ids"], None, [row])

    def questions(self, with_output: str | None = None) -> list[str]:
        """The recorded questions, or those of them that this output is recorded for."""
        wanted = ("input_ids", *([with_output] if with_output else []))
        return [n for n in QUESTIONS if all(f"{n}.{key}" in self.expected for key in wanted)]

    @property
    def hears(self) -> bool:
        return self.model.config.audio_config is not None


_LOADED: dict[Path, Recording] = {}


def loaded(variant: Path) -> Recording:
    """Loaded once a variant; the tests of one variant need not stand together."""
    if variant not in _LOADED:
        _LOADED[variant] = Recording(variant)
    _LOADED[variant].model.zero_grad(set_to_none=True)
    return _LOADED[variant]


@pytest.fixture
def recording(variant: Path) -> Recording:
    return loaded(variant)


@pytest.fixture
def asked(asked_variant: Path) -> Recording:
    return loaded(asked_variant)


@pytest.fixture
def trained(trained_variant: Path) -> Recording:
    return loaded(trained_variant)


def close(actual: torch.Tensor, expected: torch.Tensor, name: str) -> None:
    torch.testing.assert_close(
        actual, expected, atol=1e-4, rtol=1e-4, msg=lambda reason: f"{name}: {reason}"
    )


@torch.no_grad()
def test_each_stage(recording: Recording) -> None:
    model = recording.model
    stages = {
        "vision_features": lambda: model.model.encode_frames(recording["video"][None])[0],
        "video_tokens": lambda: model.get_video_features(recording["video"][None]).pooler_output,
        "image_tokens": lambda: model.get_image_features(recording["image"]).pooler_output,
        "audio_features": lambda: model.model.audio_tower(recording["fbank"]),
        "audio_tokens": lambda: model.get_audio_features(recording["fbank"]).pooler_output,
        "audio_tag_probabilities": lambda: model.tag_sound(recording["fbank"]),
    }
    assert tuple(stages) == STAGES
    for name in STAGES:
        if name in recording.expected:
            close(stages[name](), recording[name], name)
    unread = [name for name in recording.expected if READ.fullmatch(name) is None]
    if unread:
        warnings.warn(f"recorded, but read by no test: {', '.join(unread)}", stacklevel=1)


@torch.no_grad()
def test_each_question(asked: Recording) -> None:
    for name in asked.questions():
        inputs = asked.question(name)
        ids = inputs["input_ids"]
        items = {key.removesuffix("_features"): inputs[key] for key in inputs if "_features" in key}
        outputs = {
            "inputs_embeds": lambda ids=ids, items=items: asked.model.model.embed(ids, items),
            "logits": lambda inputs=inputs: asked.model(**inputs).logits,
        }
        for output, compute in outputs.items():
            if f"{name}.{output}" in asked.expected:
                close(compute(), asked[f"{name}.{output}"], f"{name}.{output}")


@torch.no_grad()
def test_generated_token_for_token(asked: Recording) -> None:
    for name in asked.questions("generated"):
        inputs = asked.question(name)
        expected = asked[f"{name}.generated"]
        output = asked.model.generate(
            **inputs, do_sample=False, max_new_tokens=expected.shape[1], eos_token_id=NEVER
        )
        answer = output[:, inputs["input_ids"].shape[1] :]
        assert answer.tolist() == expected.tolist(), name


def test_training_batch(trained: Recording) -> None:
    rows = [{"video": "video"}, {"video": "video2"}]
    if trained.hears:
        rows = [{"video": "video", "audio": "fbank"}, {"audio": "fbank2"}]
    inputs = trained.batch(trained["batch.input_ids"], trained["batch.labels"], rows)
    loss = trained.model(**inputs).loss
    if "batch.loss" in trained.expected:
        torch.testing.assert_close(loss, trained["batch.loss"][0], rtol=1e-5, atol=0.0)
    loss.backward()
    norms = {
        to_released(name): parameter.grad.norm()
        for name, parameter in trained.model.named_parameters()
        if parameter.grad is not None
    }
    prefix = "batch.grad_norm."
    recorded = [key.removeprefix(prefix) for key in trained.expected if key.startswith(prefix)]
    for name in recorded:
        torch.testing.assert_close(
            norms[name],
            trained[prefix + name][0],
            rtol=1e-3,
            atol=1e-7,
            msg=lambda m, n=name: f"{n}: {m}",
        )


@torch.no_grad()
def test_batched_generation_equals_one_by_one(asked: Recording) -> None:
    """Unequal, mixed rows, left-padded together, give each row's own answer."""
    names = asked.questions()
    singles = [asked.question(name) for name in names]
    cut = asked.question(names[0])  # a shorter question about the same medium
    cut["input_ids"] = cut["input_ids"][:, :-5]
    cut["attention_mask"] = cut["attention_mask"][:, :-5]
    singles.append(cut)
    settings = {"do_sample": False, "max_new_tokens": 12, "eos_token_id": NEVER}
    alone = [
        asked.model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :]
        for inputs in singles
    ]
    longest = max(inputs["input_ids"].shape[1] for inputs in singles)
    together: dict[str, Any] = {"input_ids": [], "attention_mask": []}
    for inputs in singles:
        missing = longest - inputs["input_ids"].shape[1]
        for key in ("input_ids", "attention_mask"):
            together[key].append(torch.nn.functional.pad(inputs[key], (missing, 0)))
        for key in inputs:
            if key.endswith("_features"):
                together.setdefault(key, []).extend(inputs[key])
    batch = {
        key: torch.cat(value) if key in ("input_ids", "attention_mask") else value
        for key, value in together.items()
    }
    output = asked.model.generate(**batch, **settings)[:, longest:]
    for row, expected in zip(output, alone, strict=True):
        assert row.tolist() == expected[0].tolist()
