"""How much of the starter's accuracy is lost when its clips are stored otherwise.

    python benchmarks/robustness.py [--model starter] [--clips 60]

The held-out clips of tests/starter are decoded and encoded again, each way that VARIANTS names, and
all closed questions in the usual wordings asked again. The change is paired, question by question;
its interval is from drawing clips again, within each question type, each type counting the same.
Resumable: what the result file holds already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import common

import videollama2
from videollama2.evaluation.local import LocalModel
from videollama2.evaluation.registry import find
from videollama2.evaluation.replies import read_replies
from videollama2.evaluation.run import Choice, answer, read_questions
from videollama2.evaluation.samples import Sample, score_all
from videollama2.evaluation.statistics import mean_interval

CLIPS = Path(__file__).parents[1] / "tests" / "starter" / "clips"
METRIC = "accuracy"


@dataclass(frozen=True)
class Variant:
    """How a clip is stored: H.264 and AAC in mp4."""

    name: str
    width: int = 192
    height: int = 192
    fps: int = 8
    crf: int = 23
    rate: int = 48_000
    layout: str = "mono"
    sound_bits: int = 48_000


VARIANTS = (
    Variant("encoded again, all else the same"),
    Variant("pictures at a low bitrate (x264 crf 33)", crf=33),
    Variant("pictures at a very low bitrate (x264 crf 40)", crf=40),
    Variant("4 frames a second", fps=4),
    Variant("15 frames a second", fps=15),
    Variant("30 frames a second", fps=30),
    Variant("96 x 96", width=96, height=96),
    Variant("480 x 480", width=480, height=480),
    Variant("320 x 180, squeezed", width=320, height=180),
    Variant("stereo", layout="stereo", sound_bits=96_000),
    Variant("sound at 24 kbit/s", sound_bits=24_000),
    Variant("sound at 44.1 kHz", rate=44_100),
    Variant("sound at 16 kHz", rate=16_000, sound_bits=32_000),
    Variant("sound at 8 kHz", rate=8_000, sound_bits=16_000),
    Variant(
        "all at once: crf 33, 25 frames a second, 128 x 128, stereo at 22.05 kHz and 32 kbit/s",
        width=128, height=128, fps=25, crf=33, rate=22_050, layout="stereo", sound_bits=32_000,
    ),
)  # fmt: skip


def store(source: Path, target: Path, variant: Variant) -> None:
    """Decode a clip and store it as the variant says; pictures are repeated or left out in time."""
    with av.open(str(source)) as container:
        pictures = [(float(frame.time or 0.0), frame) for frame in container.decode(video=0)]
        seconds = float((container.duration or 0) / av.time_base)
    with av.open(str(source)) as container, av.open(str(target), "w", format="mp4") as out:
        video: Any = out.add_stream("libx264", rate=variant.fps)
        video.width, video.height, video.pix_fmt = variant.width, variant.height, "yuv420p"
        video.options = {"crf": str(variant.crf), "preset": "medium"}
        audio: Any = out.add_stream("aac", rate=variant.rate)
        audio.layout, audio.bit_rate = variant.layout, variant.sound_bits
        length = min(seconds, pictures[-1][0] + pictures[1][0] - pictures[0][0])
        for number in range(round(length * variant.fps)):
            shown = [frame for time, frame in pictures if time <= number / variant.fps + 1e-6][-1]
            frame = shown.reformat(variant.width, variant.height, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, variant.fps)
            frame.pict_type = 0
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        resampler = av.AudioResampler("fltp", variant.layout, variant.rate)
        for sound in [*container.decode(audio=0), None]:
            for piece in resampler.resample(sound):
                out.mux(audio.encode(piece))
        out.mux(audio.encode(None))


def samples_of(model: LocalModel, folder: Path, clips: int) -> list[Sample]:
    """The closed questions about a folder's first `clips` clips, answered and scored."""
    task, choice = find("scenes"), Choice()
    questions = [q for q in read_questions(task, folder, choice) if q.details["metric"] == METRIC]
    kept = sorted({question.unit for question in questions})[:clips]
    questions = [question for question in questions if question.unit in kept]
    with tempfile.TemporaryDirectory() as out:
        answer(questions, model, choice.decoding(task), Path(out), batch_size=24)
        return score_all(task, questions, read_replies(Path(out)), {})


def values_of(samples: list[Sample]) -> list[float]:
    return [sample.marks.released.scores[METRIC] for sample in samples]


@dataclass(frozen=True)
class Baseline:
    """The clips as they are: what each question scored, of which clip and type."""

    values: list[float]
    units: list[str]
    types: list[str]

    @classmethod
    def of(cls, samples: list[Sample]) -> Baseline:
        return cls(
            values_of(samples),
            [sample.question.unit for sample in samples],
            [sample.question.groups["type"] for sample in samples],
        )


def measure(model: LocalModel, clips: int, variant: Variant, before: Baseline) -> dict[str, Any]:
    """Accuracy of clips stored so, and its change."""
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted(CLIPS.glob("*.mp4"))[:clips]:
            store(source, Path(folder) / source.name, variant)
        for source in sorted(CLIPS.glob("*.mp4"))[clips:]:  # listed, though not asked about
            shutil.copy(source, folder)
        shutil.copy(CLIPS / "questions.json", folder)
        after = values_of(samples_of(model, Path(folder), clips))
    changes = [b - a for a, b in zip(before.values, after, strict=True)]
    change = mean_interval(changes, before.units, before.types)
    accuracy = mean_interval(after, before.units, before.types)
    return {**asdict(variant), "accuracy": accuracy.value, "change": asdict(change)}


def as_text(rows: list[dict[str, Any]]) -> str:
    """The table: accuracy, and the change in points."""
    first = rows[0]
    low, high = 100 * first["low"], 100 * first["high"]
    lines = [
        "| stored | accuracy | change in points (95 %) |",
        "| --- | ---: | ---: |",
        f"| as they are | {100 * first['value']:.1f} | ({low:.1f} to {high:.1f}) |",
    ]
    for row in rows[1:]:
        change = row["change"]
        value, low, high = (100 * change[name] for name in ("value", "low", "high"))
        lines.append(
            f"| {row['name']} | {100 * row['accuracy']:.1f} "
            f"| {value:+.1f} ({low:+.1f} to {high:+.1f}) |"
        )
    return "\n".join(lines)


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--model", default="starter")
    made.add_argument("--clips", type=int, default=60)
    made.add_argument("--first", type=int, default=0, help="number of the first variant")
    made.add_argument("--last", type=int, help="number past the last one")
    made.add_argument("--out", type=Path, default=common.RESULTS)
    args = made.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "robustness.json"
    weights = common.weights_of(args.model)
    settings = {"model": args.model, "weights": weights, "clips": args.clips}
    values = common.resumed(file, settings, {"rows": []})
    rows: list[dict[str, Any]] = values["rows"]
    model = LocalModel.of(videollama2.VideoLlama2.from_pretrained(args.model, device="cpu"))
    before = Baseline.of(samples_of(model, CLIPS, args.clips))
    if not rows:
        first = mean_interval(before.values, before.units, before.types)
        rows.append({"name": "as they are", **asdict(first)})
    for variant in VARIANTS[args.first : args.last]:
        if variant.name not in [row["name"] for row in rows]:
            rows.append(measure(model, args.clips, variant, before))
            values |= common.facts("cpu")
            file.write_text(json.dumps(values, indent=1) + "\n")
    print(as_text(rows))
    (args.out / "robustness.md").write_text(
        "# The starter's clips stored otherwise\n\n"
        f"`{values['command']}`, commit {values['commit']}, {values['date'][:10]}, "
        f"{values['hardware']}: {args.clips} clips, {rows[0]['count']} closed questions.\n\n"
        f"{as_text(rows)}\n"
    )


if __name__ == "__main__":
    main()
