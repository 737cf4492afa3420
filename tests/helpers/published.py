"""Miniatures of the data sets' published files: made rows in the exact published layout."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Form:
    """Published files of a data set, and what must come of them.

    `files`: relative path -> text. `media`: the stubs that exist.
    `answers`: record id -> (media path or None, the answers).
    `questions`: record id -> the questions, where they are the data's own.
    `required`: (file, field): without the field the file is refused.
    """

    name: str
    task: str
    files: dict[str, str]
    media: tuple[str, ...]
    answers: dict[str, tuple[str | None, list[str]]]
    questions: dict[str, list[str]] = field(default_factory=dict)
    required: tuple[tuple[str, str], ...] = ()

    def lay_out(self, root: Path) -> Path:
        for path, text in self.files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        for path in self.media:
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"stub")
        return root


def lines(*rows: str) -> str:
    return "".join(f"{row}\n" for row in rows)


FORMS: list[Form] = [
    Form(
        "panda-70m",
        "caption",
        {
            "panda70m_training_full.csv": lines(
                "videoID,url,timestamp,caption,matching_score",
                "---aaa,https://www.youtube.com/watch?v=---aaa,"
                "\"[['0:00:16.300', '0:00:32.566'], ['0:00:44.100', '0:00:49.066']]\","
                '"[\'A dog in a wheel chair.\', ""A man\'s talk, on fox news.""]","[0.45, 0.44]"',
                "---bbb,https://www.youtube.com/watch?v=---bbb,"
                "\"[['0:00:14.160', '0:00:16.440']]\",\"['A dam.']\",[0.45]",
            )
        },
        ("00000/0000000_00000.mp4", "00000/0000000_00001.mp4", "00000/0000001_00000.mp4"),
        {
            "panda-70m/---aaa_00000": ("00000/0000000_00000.mp4", ["A dog in a wheel chair."]),
            "panda-70m/---aaa_00001": ("00000/0000000_00001.mp4", ["A man's talk, on fox news."]),
            "panda-70m/---bbb_00000": ("00000/0000001_00000.mp4", ["A dam."]),
        },
        required=(("panda70m_training_full.csv", "caption"),),
    ),
    Form(
        "panda-70m",
        "downloaded",
        {
            "00000/0000000_00000.txt": "A dog.",
            "00000/0000000_00000.json": "{}",
            "00001/0000100_00002.txt": "A dam.\n",
        },
        ("00000/0000000_00000.mp4", "00001/0000100_00002.mp4"),
        {
            "panda-70m/0000000_00000": ("00000/0000000_00000.mp4", ["A dog."]),
            "panda-70m/0000100_00002": ("00001/0000100_00002.mp4", ["A dam."]),
        },
    ),
    Form(
        "webvid-10m",
        "caption",
        {
            "results_10M_train.csv": lines(
                "videoid,contentUrl,duration,page_dir,name",
                "1066674784,https://x.test/a.mp4,PT00H00M10S,000001_000050,Travel blogger shoot",
                '31353427,https://x.test/b.mp4,PT00H00M21S,000051_000100,"Merida, mexico: street"',
            )
        },
        ("videos/000001_000050/1066674784.mp4", "videos/31353427.mp4"),
        {
            "webvid-10m/1066674784": (
                "videos/000001_000050/1066674784.mp4",
                ["Travel blogger shoot"],
            ),
            "webvid-10m/31353427": ("videos/31353427.mp4", ["Merida, mexico: street"]),
        },
        required=(("results_10M_train.csv", "name"), ("results_10M_train.csv", "page_dir")),
    ),
    Form(
        "vidal-10m",
        "caption",
        {
            "vidal10m.json": json.dumps(
                {
                    "ImkVYKWqlDU": {
                        "folder": "coco_vat_9",
                        "mplug": "This video describes divers.",
                        "polish_mplug": "divers roll off a boat.",
                        "ofa": [" a man in a wet suit"] * 8,
                        "sound_mplug": "splashing water",
                        "raw": "WHY DIVERS ROLL #shorts",
                    },
                    "zzz": {
                        "folder": "coco_vat_1",
                        "mplug": "b",
                        "polish_mplug": "a [cat], a {dog}",
                        "ofa": [],
                        "sound_mplug": "",
                        "raw": "c",
                    },
                },
                indent=2,
            )
        },
        ("coco_vat_9/ImkVYKWqlDU.mp4", "coco_vat_1/zzz.mp4"),
        {
            "vidal-10m/ImkVYKWqlDU": ("coco_vat_9/ImkVYKWqlDU.mp4", ["divers roll off a boat."]),
            "vidal-10m/zzz": ("coco_vat_1/zzz.mp4", ["a [cat], a {dog}"]),
        },
        required=(("vidal10m.json", "polish_mplug"), ("vidal10m.json", "folder")),
    ),
    Form(
        "internvid-10m",
        "caption",
        {
            "InternVid-10M-flt.jsonl": lines(
                '{"YoutubeID": "HdYoyzCSWyw", "Start_timestamp": "00:03:10.567", "End_timestamp":'
                ' "00:03:11.200", "Caption": "woman using a computer", "Aesthetic_Score": 4.58,'
                ' "UMT_Score": 0.39}',
                '{"YoutubeID": "_VljYs8BhSE", "Start_timestamp": "00:00:07.533", "End_timestamp":'
                ' "00:00:11.633", "Caption": "gift wrap", "Aesthetic_Score": 3.2,'
                ' "UMT_Score": 0.46}',
            )
        },
        (
            "HdYoyzCSWyw_00:03:10.567_00:03:11.200.mp4",
            "videos/_VljYs8BhSE_00:00:07.533_00:00:11.633.mp4",
        ),
        {
            "internvid-10m/HdYoyzCSWyw_00:03:10.567_00:03:11.200": (
                "HdYoyzCSWyw_00:03:10.567_00:03:11.200.mp4",
                ["woman using a computer"],
            ),
            "internvid-10m/_VljYs8BhSE_00:00:07.533_00:00:11.633": (
                "videos/_VljYs8BhSE_00:00:07.533_00:00:11.633.mp4",
                ["gift wrap"],
            ),
        },
        required=(("InternVid-10M-flt.jsonl", "Caption"),),
    ),
    Form(
        "cc-3m",
        "instructed",
        {
            "chat.json": json.dumps(
                [
                    {
                        "id": "GCC_train_001738742",
                        "image": "GCC_train_001738742.jpg",
                        "conversations": [
                            {
                                "from": "human",
                                "value": "Provide a brief description of the given image.\n<image>",
                            },
                            {"from": "gpt", "value": "a sketch of an ostrich"},
                        ],
                    },
                    {
                        "id": "GCC_train_001830363",
                        "image": "GCC_train_001830363.jpg",
                        "conversations": [
                            {"from": "human", "value": "<image>\nDescribe the image briefly."},
                            {"from": "gpt", "value": "team members at the ceremony"},
                        ],
                    },
                ]
            )
        },
        ("images/GCC_train_001738742.jpg", "GCC_train_001830363.jpg"),
        {
            "cc-3m/GCC_train_001738742": (
                "images/GCC_train_001738742.jpg",
                ["a sketch of an ostrich"],
            ),
            "cc-3m/GCC_train_001830363": (
                "GCC_train_001830363.jpg",
                ["team members at the ceremony"],
            ),
        },
        {
            "cc-3m/GCC_train_001738742": ["Provide a brief description of the given image."],
            "cc-3m/GCC_train_001830363": ["Describe the image briefly."],
        },
        required=(("chat.json", "image"), ("chat.json", "conversations")),
    ),
    Form(
        "dci",
        "dense",
        {
            "complete/000_a.json": json.dumps(
                {
                    "image": "sa_1.jpg",
                    "short_caption": "A water pump.",
                    "extra_caption": "It is old.",
                    "mask_data": {
                        "3": {
                            "idx": 3,
                            "mask_quality": 0,
                            "label": "pump",
                            "caption": "A green pump.",
                            "parent": -1,
                            "requirements": [],
                        },
                        "4": {"idx": 4, "mask_quality": 2, "parent": -1, "requirements": []},
                    },
                    "mask_keys": ["3", "4"],
                }
            ),
            "complete/001_b.json": json.dumps(
                {
                    "image": "sa_2.jpg",
                    "short_caption": "A street.",
                    "extra_caption": "",
                    "mask_data": {},
                    "mask_keys": [],
                }
            ),
        },
        ("photos/sa_1.jpg", "photos/sa_2.jpg"),
        {
            "dci/sa_1.jpg": (
                "photos/sa_1.jpg",
                ["A water pump.\nIt is old.\npump: A green pump."],
            ),
            "dci/sa_2.jpg": ("photos/sa_2.jpg", ["A street."]),
        },
    ),
]
