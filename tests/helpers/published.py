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

CAPTIONS_HEADER = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5"
SCENES = (
    "(A) beach\n(B) bus\n(C) cafe or restaurant\n(D) car\n(E) city center\n(F) forest path\n"
    "(G) grocery store\n(H) home\n(I) library\n(J) metro station\n(K) office\n(L) park\n"
    "(M) residential area\n(N) train\n(O) tram\n"
)
ONLY_THE_LETTER = (
    ".Answer with the option's letter from the given choices directly "
    "and only give the best option."
)
SCENE_QUESTION = (
    f"Question: Identify the sound event in the audio.\nOptions:\n{SCENES}{ONLY_THE_LETTER}"
)
VOICES = lines(
    "index,mid,display_name",
    '0,/m/01j3sz,"Laughter"',
    '1,/m/07plz5l,"Sigh"',
    '2,/m/01b_21,"Cough"',
    '3,/m/0dl9sf8,"Throat clearing"',
    '4,/m/01hsr_,"Sneeze"',
    '5,/m/07ppn3j,"Sniff"',
)
VOICE_QUESTION = (
    "Identify the human sound in the audio.\nOptions:\n(A) Laughter\n(B) Sigh\n(C) Cough\n"
    f"(D) Throat clearing\n(E) Sneeze\n(F) Sniff\n{ONLY_THE_LETTER}"
)
VOICE_DATA = json.dumps(
    {
        "data": [
            {"wav": "/data/sls/audio_16k/f0003_0_cough.wav", "labels": "/m/01b_21"},
            {"wav": "/data/sls/audio_16k/m0004_0_sniff.wav", "labels": "/m/07ppn3j"},
        ]
    },
    indent=1,
)
AVQA_DATA = json.dumps(
    [
        {
            "id": 183,
            "video_name": "-HG3Omg_89c_000030",
            "video_id": 341,
            "question_text": "What happened in the video?",
            "multi_choice": [
                "motorboat",
                "Yacht consignment",
                "Sailboat set sail",
                "Consignment car",
            ],
            "answer": 1,
            "question_relation": "View",
            "question_type": "Happening",
        }
    ]
)
AVSD_DATA = json.dumps(
    {
        "type": "train",
        "dialogs": [
            {
                "image_id": "3MSZA",
                "caption": "a man walks",
                "summary": "he walks",
                "dialog": [
                    {"question": "is there one person ?", "answer": "yes , a man"},
                    {"question": "any sound ?", "answer": "only steps ."},
                ],
            },
            {
                "image_id": "7UPGT",
                "caption": "b",
                "summary": "c",
                "dialog": [{"question": "who ?", "answer": "__UNDISCLOSED__"}],
            },
        ],
        "version": 1,
    }
)
SOMETHING_DATA = json.dumps(
    [
        {
            "id": "78687",
            "label": "holding potato next to vicks vaporub bottle",
            "template": "Holding [something] next to [something]",
            "placeholders": ["potato", "vicks vaporub bottle"],
        },
        {
            "id": "41775",
            "label": "moving part of drawer",
            "template": "Moving part of [something]",
            "placeholders": ["drawer"],
        },
    ]
)
MSVD_MAPPING = lines("-4wsuPCjDBc_5_15 vid1", "zzit5b_-ukg_5_20 vid1970", "x_y_1_2 vid1200")
LLAVA_IMAGE = {
    "id": "004539375",
    "image": "llava_image/00453/004539375.jpg",
    "conversations": [
        {"from": "human", "value": "Render a clear summary.\n<image>"},
        {"from": "gpt", "value": "select luxury furniture"},
    ],
}
LLAVA_VIDEO = {
    "id": "1",
    "video": "valley/000001_000050/1013731484.mp4",
    "conversations": [
        {"from": "human", "value": "<video>\nWhat is shown?"},
        {"from": "gpt", "value": "A blogger."},
    ],
}

FORMS += [
    Form(
        "wavcaps",
        "caption",
        {
            "json_files/FreeSound/fsd_final.json": json.dumps(
                {
                    "num_captions_per_audio": 1,
                    "data": [
                        {"id": "180913", "file_name": "x.wav", "caption": "Rain.", "duration": 9.0}
                    ],
                }
            ),
            "json_files/BBC_Sound_Effects/bbc_final.json": json.dumps(
                {
                    "num_captions_per_audio": 1,
                    "data": [
                        {
                            "id": "NHU05093027",
                            "caption": "Birds.",
                            "duration": 3.0,
                            "audio": "wav_path",
                        }
                    ],
                }
            ),
            # the earlier release's bare list
            "json_files/SoundBible/sb_final.json": json.dumps(
                [{"title": "Bell", "caption": "A bell.", "id": "2218", "duration": 1.5}]
            ),
            "json_files/AudioSet_SL/as_final.json": json.dumps(
                {
                    "num_captions_per_audio": 1,
                    "data": [
                        {
                            "id": "Yb0RFKhbpFJA.wav",
                            "caption": "Wind.",
                            "audio": "wav_path",
                            "duration": 10.0,
                        }
                    ],
                }
            ),
        },
        (
            "waveforms/FreeSound_flac/180913.flac",
            "BBC_Sound_Effects_flac/NHU05093027.flac",
            "waveforms/SoundBible_flac/2218.flac",
            "waveforms/AudioSet_SL_flac/Yb0RFKhbpFJA.flac",
        ),
        {
            "wavcaps/FreeSound/180913": ("waveforms/FreeSound_flac/180913.flac", ["Rain."]),
            "wavcaps/BBC_Sound_Effects/NHU05093027": (
                "BBC_Sound_Effects_flac/NHU05093027.flac",
                ["Birds."],
            ),
            "wavcaps/SoundBible/2218": ("waveforms/SoundBible_flac/2218.flac", ["A bell."]),
            "wavcaps/AudioSet_SL/Yb0RFKhbpFJA": (
                "waveforms/AudioSet_SL_flac/Yb0RFKhbpFJA.flac",
                ["Wind."],
            ),
        },
        required=(
            ("json_files/FreeSound/fsd_final.json", "caption"),
            ("json_files/AudioSet_SL/as_final.json", "data"),
        ),
    ),
    Form(
        "audiocaps",
        "caption",
        {
            "dataset/train.csv": lines(
                "audiocap_id,youtube_id,start_time,caption",
                "91139,r1nicOVtvkQ,130,A woman talks nearby as water pours",
                '58146,GPkpjtH5X3E,30,"Multiple clanging, clanking sounds"',
            )
        },
        ("audio/r1nicOVtvkQ_130.wav", "audio/58146.wav"),
        {
            "audiocaps/91139": (
                "audio/r1nicOVtvkQ_130.wav",
                ["A woman talks nearby as water pours"],
            ),
            "audiocaps/58146": ("audio/58146.wav", ["Multiple clanging, clanking sounds"]),
        },
        required=(("dataset/train.csv", "caption"), ("dataset/train.csv", "youtube_id")),
    ),
    Form(
        "clotho",
        "caption",
        {
            "clotho_captions_development.csv": lines(
                CAPTIONS_HEADER, 'Distorted AM Radio noise.wav,"A, b.",c.,d.,e.,f.'
            )
        },
        ("development/Distorted AM Radio noise.wav",),
        {
            f"clotho/Distorted AM Radio noise.wav/{number}": (
                "development/Distorted AM Radio noise.wav",
                [text],
            )
            for number, text in enumerate(("A, b.", "c.", "d.", "e.", "f."), 1)
        },
        required=(("clotho_captions_development.csv", "caption_5"),),
    ),
    Form(
        "musiccaps",
        "caption",
        {
            "musiccaps-public.csv": lines(
                "ytid,start_s,end_s,audioset_positive_labels,aspect_list,caption,author_id,"
                "is_balanced_subset,is_audioset_eval",
                '-0Gj8-vB1q4,30,40,/m/0140xf,"[\'low quality\']","A ballad.",4,False,True',
                '-0SdAVK79lg,30,40,/m/0155w,[],"A guitar, slowly.",0,False,False',
            )
        },
        ("audio/-0Gj8-vB1q4.wav", "-0SdAVK79lg.wav"),
        {
            "musiccaps/-0Gj8-vB1q4_30": ("audio/-0Gj8-vB1q4.wav", ["A ballad."]),
            "musiccaps/-0SdAVK79lg_30": ("-0SdAVK79lg.wav", ["A guitar, slowly."]),
        },
        required=(("musiccaps-public.csv", "ytid"), ("musiccaps-public.csv", "caption")),
    ),
    *(
        Form(
            "vggsound",
            task,
            {
                "vggsound.csv": lines(
                    "---g-f_I2yQ,1,people marching,test",
                    "--0PQM4-hqg,30,waterfall burbling,train",
                    '--5OkAjCI7g,40,"donkey, ass braying",train',
                )
            },
            (f"{folder}/--0PQM4-hqg_000030{end}", f"--5OkAjCI7g_000040{end}"),
            {
                f"vggsound/--0PQM4-hqg_000030/{folder}": (
                    f"{folder}/--0PQM4-hqg_000030{end}",
                    ["waterfall burbling"],
                ),
                f"vggsound/--5OkAjCI7g_000040/{folder}": (
                    f"--5OkAjCI7g_000040{end}",
                    ["donkey, ass braying"],
                ),
            },
        )
        for task, folder, end in (("sound", "audio", ".wav"), ("audio-visual", "video", ".mp4"))
    ),
    Form(
        "tut2016",
        "choice",
        {
            "meta.txt": lines(
                "audio/a001_0_30.wav\tcity_center", "audio/b086_1_31.wav\tcafe/restaurant"
            )
        },
        ("audio/a001_0_30.wav", "audio/b086_1_31.wav"),
        {
            "tut2016/a001_0_30": ("audio/a001_0_30.wav", ["E"]),
            "tut2016/b086_1_31": ("audio/b086_1_31.wav", ["C"]),
        },
        {"tut2016/a001_0_30": [SCENE_QUESTION], "tut2016/b086_1_31": [SCENE_QUESTION]},
    ),
    Form(
        "tut2017",
        "label",
        {
            "meta.txt": lines(
                "audio/b020_90_100.wav\tbeach\tb020", "audio/a1_0_10.wav\tforest_path\ta1"
            )
        },
        ("audio/b020_90_100.wav", "audio/a1_0_10.wav"),
        {
            "tut2017/b020_90_100": ("audio/b020_90_100.wav", ["beach"]),
            "tut2017/a1_0_10": ("audio/a1_0_10.wav", ["forest path"]),
        },
    ),
    Form(
        "vocalsound",
        "choice",
        {"datafiles/tr.json": VOICE_DATA, "class_labels_indices_vs.csv": VOICES},
        ("audio_16k/f0003_0_cough.wav", "audio_44k/m0004_0_sniff.wav"),
        {
            "vocalsound/f0003_0_cough": ("audio_16k/f0003_0_cough.wav", ["C"]),
            "vocalsound/m0004_0_sniff": ("audio_44k/m0004_0_sniff.wav", ["F"]),
        },
        {"vocalsound/f0003_0_cough": [VOICE_QUESTION]},
        required=(("datafiles/tr.json", "labels"), ("class_labels_indices_vs.csv", "display_name")),
    ),
    Form(
        "vocalsound",
        "label",
        {"datafiles/tr.json": VOICE_DATA, "class_labels_indices_vs.csv": VOICES},
        ("audio_16k/f0003_0_cough.wav", "audio_16k/m0004_0_sniff.wav"),
        {
            "vocalsound/f0003_0_cough": ("audio_16k/f0003_0_cough.wav", ["Cough"]),
            "vocalsound/m0004_0_sniff": ("audio_16k/m0004_0_sniff.wav", ["Sniff"]),
        },
    ),
    Form(
        "avqa",
        "qa",
        {"data/train_qa.json": AVQA_DATA},
        ("data/video/-HG3Omg_89c_000030.mp4",),
        {"avqa/183": ("data/video/-HG3Omg_89c_000030.mp4", ["Yacht consignment"])},
        {"avqa/183": ["What happened in the video?"]},
        required=(("data/train_qa.json", "multi_choice"), ("data/train_qa.json", "answer")),
    ),
    Form(
        "avqa",
        "choice",
        {"data/train_qa.json": AVQA_DATA},
        ("videos/-HG3Omg_89c_000030.mp4",),
        {"avqa/183": ("videos/-HG3Omg_89c_000030.mp4", ["B"])},
        {
            "avqa/183": [
                "Question: What happened in the video?\nOptions:\n(A) motorboat\n"
                "(B) Yacht consignment\n(C) Sailboat set sail\n(D) Consignment car\n"
                + ONLY_THE_LETTER[1:]
            ]
        },
    ),
    Form(
        "music-avqa",
        "qa",
        {
            "data/json/avqa-train.json": json.dumps(
                [
                    {
                        "video_id": "00000272",
                        "question_id": 0,
                        "type": '["Audio", "Counting"]',
                        "question_content": "How many instruments are sounding in the video?",
                        "templ_values": "[]",
                        "question_deleted": 0,
                        "anser": "two",
                    },
                    {
                        "video_id": "sa00007178",
                        "question_id": 7,
                        "type": '["Audio-Visual", "Temporal"]',
                        "question_content": "Which <Object> makes the sound <FL>?",
                        "templ_values": '["clarinet", "first"]',
                        "question_deleted": 0,
                        "anser": "left",
                    },
                ]
            )
        },
        ("data/video/00000272.mp4", "videos/sa00007178.mp4"),
        {
            "music-avqa/0": ("data/video/00000272.mp4", ["two"]),
            "music-avqa/7": ("videos/sa00007178.mp4", ["left"]),
        },
        {"music-avqa/7": ["Which clarinet makes the sound first?"]},
        required=(("data/json/avqa-train.json", "anser"),),
    ),
    Form(
        "avsd",
        "dialogue",
        {"train_set4DSTC7-AVSD.json": AVSD_DATA},
        ("Charades_v1_480/3MSZA.mp4",),
        {"avsd/3MSZA": ("Charades_v1_480/3MSZA.mp4", ["yes , a man", "only steps ."])},
        {"avsd/3MSZA": ["is there one person ?", "any sound ?"]},
        required=(
            ("train_set4DSTC7-AVSD.json", "dialogs"),
            ("train_set4DSTC7-AVSD.json", "image_id"),
        ),
    ),
    Form(
        "avsd",
        "qa",
        {"train_set4DSTC7-AVSD.json": AVSD_DATA},
        ("Charades_v1/3MSZA.mp4",),
        {
            "avsd/3MSZA/1": ("Charades_v1/3MSZA.mp4", ["yes , a man"]),
            "avsd/3MSZA/2": ("Charades_v1/3MSZA.mp4", ["only steps ."]),
        },
        {"avsd/3MSZA/2": ["any sound ?"]},
    ),
    Form(
        "something-something-v2",
        "classify",
        {"something-something-v2-train.json": SOMETHING_DATA},
        ("20bn-something-something-v2/78687.webm", "41775.webm"),
        {
            "ssv2/78687": (
                "20bn-something-something-v2/78687.webm",
                ["Holding something next to something"],
            ),
            "ssv2/41775": ("41775.webm", ["Moving part of something"]),
        },
        required=(("something-something-v2-train.json", "template"),),
    ),
    Form(
        "something-something-v2",
        "caption",
        {"something-something-v2-train.json": SOMETHING_DATA},
        ("20bn-something-something-v2/78687.webm", "videos/41775.webm"),
        {
            "ssv2/78687": (
                "20bn-something-something-v2/78687.webm",
                ["holding potato next to vicks vaporub bottle"],
            ),
            "ssv2/41775": ("videos/41775.webm", ["moving part of drawer"]),
        },
    ),
    Form(
        "kinetics-710",
        "classify",
        {
            "kinetics710/k400_train_list_videos.txt": "jf7RDuUTrsQ.mp4 1\n",
            "kinetics710/k600_train_list_videos.txt": "vol_00/-A5JFdMXB_k_000018_000028.mp4 0\n",
            "kinetics710/k700_train_list_videos.txt": "vol_00/-Paa0R0tQ1w_000009_000019.mp4 2\n",
            "kinetics710/label_map_k710.txt": "abseiling\nacting in play\nadjusting glasses\n",
        },
        (
            "kinetics400/videos_train/jf7RDuUTrsQ.mp4",
            "kinetics600/videos/vol_00/-A5JFdMXB_k_000018_000028.mp4",
            "kinetics700/videos/vol_00/-Paa0R0tQ1w_000009_000019.mp4",
        ),
        {
            "kinetics-710/k400/jf7RDuUTrsQ.mp4": (
                "kinetics400/videos_train/jf7RDuUTrsQ.mp4",
                ["acting in play"],
            ),
            "kinetics-710/k600/vol_00/-A5JFdMXB_k_000018_000028.mp4": (
                "kinetics600/videos/vol_00/-A5JFdMXB_k_000018_000028.mp4",
                ["abseiling"],
            ),
            "kinetics-710/k700/vol_00/-Paa0R0tQ1w_000009_000019.mp4": (
                "kinetics700/videos/vol_00/-Paa0R0tQ1w_000009_000019.mp4",
                ["adjusting glasses"],
            ),
        },
    ),
    Form(
        "msvd",
        "caption",
        {
            "AllVideoDescriptions.txt": lines(
                "# the descriptions",
                "-4wsuPCjDBc_5_15 a squirrel is eating a peanut in it's shell",
                "-4wsuPCjDBc_5_15 a chipmunk is eating",
                "zzit5b_-ukg_5_20 of a test clip",
                "x_y_1_2 the last training clip",
            ),
            "youtube_mapping.txt": MSVD_MAPPING,
        },
        ("YouTubeClips/-4wsuPCjDBc_5_15.avi", "YouTubeClips/x_y_1_2.avi"),
        {
            "msvd/-4wsuPCjDBc_5_15/1": (
                "YouTubeClips/-4wsuPCjDBc_5_15.avi",
                ["a squirrel is eating a peanut in it's shell"],
            ),
            "msvd/-4wsuPCjDBc_5_15/2": (
                "YouTubeClips/-4wsuPCjDBc_5_15.avi",
                ["a chipmunk is eating"],
            ),
            "msvd/x_y_1_2/1": ("YouTubeClips/x_y_1_2.avi", ["the last training clip"]),
        },
    ),
    Form(
        "msvd",
        "qa",
        {
            "train_qa.json": json.dumps(
                [
                    {"answer": "squirrel", "id": 0, "question": "what eats?", "video_id": 1},
                    {"answer": "man", "id": 30934, "question": "who pours?", "video_id": 1200},
                ]
            ),
            "youtube_mapping.txt": MSVD_MAPPING,
        },
        ("YouTubeClips/-4wsuPCjDBc_5_15.avi", "YouTubeClips/x_y_1_2.avi"),
        {
            "msvd-qa/0": ("YouTubeClips/-4wsuPCjDBc_5_15.avi", ["squirrel"]),
            "msvd-qa/30934": ("YouTubeClips/x_y_1_2.avi", ["man"]),
        },
        {"msvd-qa/30934": ["who pours?"]},
        required=(("train_qa.json", "video_id"),),
    ),
    Form(
        "activitynet",
        "caption",
        {
            "train.json": json.dumps(
                {
                    "v_QOlSCBRmfWY": {
                        "duration": 82.73,
                        "timestamps": [[0.83, 19.86], [17.37, 60.81]],
                        "sentences": ["A young woman is seen.", " The girl dances around. "],
                    }
                }
            )
        },
        ("videos/v_QOlSCBRmfWY.mp4",),
        {
            "activitynet/v_QOlSCBRmfWY": (
                "videos/v_QOlSCBRmfWY.mp4",
                ["A young woman is seen. The girl dances around."],
            )
        },
        required=(("train.json", "sentences"),),
    ),
    Form(
        "activitynet",
        "qa",
        {
            "train_q.json": json.dumps(
                [
                    {
                        "video_name": "1QIUV7WYKXg",
                        "question": "is the athlete wearing trousers",
                        "question_id": "v_1QIUV7WYKXg_3",
                    }
                ]
            ),
            "train_a.json": json.dumps(
                [{"answer": "yes", "type": 3, "question_id": "v_1QIUV7WYKXg_3"}]
            ),
        },
        ("v_1QIUV7WYKXg.mkv",),
        {"activitynet-qa/v_1QIUV7WYKXg_3": ("v_1QIUV7WYKXg.mkv", ["yes"])},
        {"activitynet-qa/v_1QIUV7WYKXg_3": ["is the athlete wearing trousers"]},
        required=(("train_q.json", "video_name"), ("train_a.json", "answer")),
    ),
    Form(
        "egoqa",
        "qa",
        {
            "video/vqa/ego_qa/train.json": json.dumps(
                [
                    {
                        "video": "split_12/a_1.mp4",
                        "QA": [
                            {
                                "i": "Answer from the video.",
                                "q": "Where is the cup?",
                                "a": "On the table.",
                            },
                            {"i": "", "q": "And then?", "a": "In the sink."},
                        ],
                    }
                ]
            )
        },
        ("split_videos/split_12/a_1.mp4",),
        {"egoqa/1": ("split_videos/split_12/a_1.mp4", ["On the table.", "In the sink."])},
        {"egoqa/1": ["Where is the cup?", "And then?"]},
        required=(("video/vqa/ego_qa/train.json", "QA"),),
    ),
    Form(
        "video-llava-pretrain",
        "instructed",
        {"valley_llavaimage.json": json.dumps([LLAVA_IMAGE, LLAVA_VIDEO])},
        (LLAVA_IMAGE["image"], LLAVA_VIDEO["video"]),
        {
            "video-llava-pretrain/1": (LLAVA_IMAGE["image"], ["select luxury furniture"]),
            "video-llava-pretrain/2": (LLAVA_VIDEO["video"], ["A blogger."]),
        },
        {
            "video-llava-pretrain/1": ["Render a clear summary."],
            "video-llava-pretrain/2": ["What is shown?"],
        },
        required=(("valley_llavaimage.json", "conversations"),),
    ),
    Form(
        "video-llava-finetune",
        "instructed",
        {
            "videochatgpt_llavaimage_tune.json": json.dumps(
                [
                    {
                        "id": "v_a",
                        "video": "videochatgpt_tune/v_a.mp4",
                        "conversations": [
                            {"from": "gpt", "value": "dropped, as the released code does"},
                            {"from": "human", "value": "<video>\nWho?"},
                            {"from": "gpt", "value": "A man."},
                            {"from": "human", "value": "Where?"},
                            {"from": "gpt", "value": "Here."},
                        ],
                    },
                    {
                        "id": "wgByO4Y_0",
                        "model": "",
                        "conversations": [
                            {"from": "human", "value": "Text alone?"},
                            {"from": "gpt", "value": "Yes."},
                        ],
                    },
                ]
            )
        },
        ("videochatgpt_tune/v_a.mp4",),
        {
            "video-llava-finetune/1": ("videochatgpt_tune/v_a.mp4", ["A man.", "Here."]),
            "video-llava-finetune/2": (None, ["Yes."]),
        },
        {
            "video-llava-finetune/1": ["Who?", "Where?"],
            "video-llava-finetune/2": ["Text alone?"],
        },
    ),
]
