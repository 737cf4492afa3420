"""MUSIC-AVQA, AVSD and VGGSound from their publishers' own files."""

from __future__ import annotations

import json
from pathlib import Path

import clips
import pytest

from videollama2.evaluation.errors import AnnotationError
from videollama2.evaluation.registry import find
from videollama2.evaluation.run import Choice, read_questions

MUSIC = [
    {
        "video_id": "00000093",
        "question_id": 1450,
        "type": '["Audio-Visual", "Counting"]',
        "question_content": "How many <Object> are <Left/Right> of the <Object>?",
        "templ_values": '["flute", "left", "bässoon"]',
        "anser": "two",
    },
    {
        "video_id": "gone",
        "question_id": 1451,
        "type": '["Audio", "Existential"]',
        "question_content": "Is there a voiceover?",
        "templ_values": "[]",
        "anser": "yes",
    },
]


def music(root: Path, items: list[dict[str, object]]) -> Path:
    folder = root / "AVQA_music"
    (folder / "MUSIC-AVQA-videos").mkdir(parents=True)
    clips.write_video(folder / "MUSIC-AVQA-videos/00000093.mp4", 0.5)
    (folder / "avqa-test.json").write_text(json.dumps(items), encoding="utf-8")
    return root


def test_music_avqa(tmp_path: Path) -> None:
    first, second = read_questions(find("music_avqa"), music(tmp_path, MUSIC), Choice())
    assert first.prompts == ("How many flute are left of the bässoon?",)
    assert first.references == ("two",)
    assert first.id == "1450"
    assert dict(first.groups) == {"modality": "Audio-Visual", "type": "Counting"}
    assert first.media[0].path is not None
    assert first.media[0].sound is None  # heard where there is sound
    assert second.media[0].path is None
    assert second.prompts == ("Is there a voiceover?",)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("templ_values", '["flute"]', "does not fit"),
        ("templ_values", "__import__('os')", "no list"),
        ("type", "Audio", "no list"),
    ],
)
def test_music_avqa_refuses(field: str, value: str, reason: str, tmp_path: Path) -> None:
    items = [{**MUSIC[0], field: value}]
    with pytest.raises(AnnotationError, match=reason) as caught:
        read_questions(find("music_avqa"), music(tmp_path, items), Choice())
    assert caught.value.field == field


def test_avsd(tmp_path: Path) -> None:
    folder = tmp_path / "AVSD"
    (folder / "Charades_v1_480").mkdir(parents=True)
    clips.write_video(folder / "Charades_v1_480/7UPGT.mp4", 0.5)
    turns = [{"question": f"q{n}?", "answer": f"a{n}"} for n in range(10)]
    dialogues = [{"image_id": name, "dialog": turns, "caption": ""} for name in ("7UPGT", "GONE")]
    (folder / "valid_set4DSTC7-AVSD.json").write_text(json.dumps({"dialogs": dialogues}))
    questions = read_questions(find("avsd"), tmp_path, Choice())
    assert len(questions) == 20
    assert questions[3].prompts == ("q3?",)
    assert questions[3].references == ("a3",)
    assert [one.media[0].path is None for one in questions] == [False] * 10 + [True] * 10
    assert {one.cluster for one in questions} == {"7UPGT", "GONE"}


def test_vggsound(tmp_path: Path) -> None:
    (tmp_path / "VGGSound_final/video").mkdir(parents=True)
    clips.write_video(tmp_path / "VGGSound_final/video/-0jeO_000010.mp4", 0.5)
    rows = '-0jeO,10,"dog, barking",test\nx,0,cat,train\nb,120,"a ""horn""",test\n'
    (tmp_path / "vggsound.csv").write_text(rows)
    first, second = read_questions(find("vggsound"), tmp_path, Choice())
    assert first.prompts == ("Identify the event in the video.",)
    assert (first.id, first.references) == ("-0jeO_000010", ("dog, barking",))
    assert first.media[0].path is not None
    assert (second.id, second.references) == ("b_000120", ('a "horn"',))
    (tmp_path / "vggsound.csv").write_text("-0jeO,10,dog\n")
    with pytest.raises(AnnotationError, match="3 fields of 4"):
        read_questions(find("vggsound"), tmp_path, Choice())
    (tmp_path / "vggsound.csv").write_text("-0jeO,ten,dog,test\n")
    with pytest.raises(AnnotationError, match="start seconds"):
        read_questions(find("vggsound"), tmp_path, Choice())


CLOTHO_AQA = (
    "file_name,QuestionText,answer,confidence\r\n"
    'rain 1.wav,"Does it rain, or snow?",yes,yes\r\n'
    'rain 1.wav,"Does it rain, or snow?",Yes ,maybe\r\n'
    'rain 1.wav,"Does it rain, or snow?",yes,no\r\n'
    "gone.wav,What is heard?,müll,yes\r\n"
    "gone.wav,What is heard?,bell,yes\r\n"
    "gone.wav,What is heard?,bells,yes\r\n"
    "gone.wav,Is it a bell?,no,yes\r\n"
    "gone.wav,Is it a bell?,yes,yes\r\n"
    "gone.wav,Is it a bell?,no,yes\r\n"
)


def clotho_aqa(root: Path, text: str) -> Path:
    (root / "audio_files").mkdir(parents=True)
    clips.write_wav(root / "audio_files/rain 1.wav", 0.3)
    (root / "clotho_aqa_test.csv").write_text(text, encoding="utf-8", newline="")
    return root


def test_clotho_aqa(tmp_path: Path) -> None:
    """Each answer of the three is asked for, and told apart by how far people agree."""
    questions = read_questions(find("clotho_aqa"), clotho_aqa(tmp_path, CLOTHO_AQA), Choice())
    assert len(questions) == 9
    assert [one.groups["people"] for one in questions[::3]] == [
        "all agree", "no majority", "most agree",
    ]  # fmt: skip
    asked = "Question: Does it rain, or snow?\nAnswer the question using a single word."
    assert [one.prompts for one in questions[:3]] == [(asked,)] * 3
    assert [one.references[0] for one in questions[:4]] == ["yes", "Yes", "yes", "müll"]
    assert questions[0].media[0].path == tmp_path / "audio_files" / "rain 1.wav"
    assert questions[3].media[0].path is None
    assert questions[3].groups["answer"] == "other"
    assert [one.unit for one in questions] == ["rain 1.wav"] * 3 + ["gone.wav"] * 6


def test_a_broken_clotho_aqa_is_named(tmp_path: Path) -> None:
    data = clotho_aqa(tmp_path, CLOTHO_AQA.replace("QuestionText", "question"))
    with pytest.raises(AnnotationError, match="missing") as caught:
        read_questions(find("clotho_aqa"), data, Choice())
    assert (caught.value.where, caught.value.field) == ("1", "QuestionText")
