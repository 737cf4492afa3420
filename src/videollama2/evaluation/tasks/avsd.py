"""AVSD: questions of a dialogue about everyday videos, asked one by one, judged yes or no.

The authors' list (18,630 questions: the 1,863 validation dialogues of the first AVSD release) was
never published; where it is not there, the validation file of DSTC7 is read:
github.com/hudaAlamri/DSTC7-Audio-Visual-Scene-Aware-Dialog-AVSD-Challenge,
`valid_set4DSTC7-AVSD.json`, {`dialogs`: [{`image_id`, `dialog`: [{`question`, `answer`}]}]}.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from videollama2.evaluation.conversations import asked_and_answered, named_medium
from videollama2.evaluation.judge_prompts import ask_binary_match
from videollama2.evaluation.reading import find_media, json_items, json_object
from videollama2.evaluation.task import Judgement, MediaFile, Metric, NeededFile, Question, Task

_FILE, _PUBLISHED, _VIDEOS = "instruction_val.json", "valid_set4DSTC7-AVSD.json", "Charades_v1_480"


def _read(root: Path, split: str) -> Iterator[Question]:
    if (root / _FILE).is_file():
        for item in json_items(root / _FILE):
            asked, answer = asked_and_answered(item, "<video>")
            video = item.filled("video")
            name = f"{item.where} {video.split('/')[-1]}"
            yield _question(name, asked, answer, video, named_medium(root, video, _VIDEOS))
        return
    seen: set[str] = set()
    for dialogue in json_object(root / _PUBLISHED).items("dialogs"):
        video = dialogue.once("image_id", dialogue.filled("image_id"), seen)
        path = find_media(root / _VIDEOS, video)
        for number, turn in enumerate(dialogue.items("dialog"), 1):
            asked, answer = turn.text("question"), turn.text("answer")
            yield _question(f"{video} {number}", asked, answer, video, path)


def _question(name: str, asked: str, answer: str, video: str, path: Path | None) -> Question:
    return Question(
        id=name,
        prompts=(asked,),
        media=(MediaFile("video", video, path, sound=None),),
        references=(answer,),
        cluster=video,
        details={"question": asked},
    )


AVSD = Task(
    name="avsd",
    title="AVSD",
    folder="AVSD",
    size=18630,
    modality="audio-visual",
    metrics=(
        Metric("accuracy", "answers that the judge takes for right"),
        Metric("score", "how well they match, by the judge", "score"),
    ),
    source="https://github.com/hudaAlamri/DSTC7-Audio-Visual-Scene-Aware-Dialog-AVSD-Challenge",
    licence="not stated by its publisher; the videos under Charades' non-commercial licence",
    files=(
        NeededFile(
            _FILE,
            "the authors' list of video and conversations (question, answer), never published; "
            f"without it {_PUBLISHED} is read",
            optional=True,
        ),
        NeededFile(_PUBLISHED, "the publisher's validation dialogues of DSTC7", instead=_FILE),
        NeededFile(f"{_VIDEOS}/", "Charades' videos, named by image_id", instead=_FILE),
    ),
    read=_read,
    judgements=(
        Judgement("match", ask_binary_match, "score", yes_metric="accuracy", yes_key="binary_pred"),
    ),
    note=(
        "Each question is asked by itself, without the dialogue before it. Published figures were "
        "judged by GPT-3.5-turbo-0613: another judge, other figures."
    ),
)
