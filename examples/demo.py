"""Ask the bundled starter about the clips that lie here, and see what it took in.

make demo
"""

import json
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Ask every question of `questions.json`, writing the answers as they come."""
    warnings.simplefilter("ignore")
    from videollama2 import VideoLlama2

    model = VideoLlama2.from_pretrained("starter")
    load_ms = 0.0
    asked = json.loads((HERE / "questions.json").read_text(encoding="utf-8"))
    for entry in asked:
        clip = HERE / entry["clip"]
        stream = model.stream(entry["question"], video=clip)
        sys.stdout.write(f"\n{entry['clip']}\n  question  {entry['question']}\n  answer    ")
        for piece in stream:
            sys.stdout.write(piece)
            sys.stdout.flush()
        answer = stream.answer
        report, times = answer.media[0], answer.timings_ms
        after_first = answer.generated_tokens - 1
        speed = f", then {1000 * after_first / times['decode']:.0f} tokens a second"
        sys.stdout.write(
            f"\n  took in   {report.frames} frames, {report.sound_s:.1f} s of sound, "
            f"{answer.prompt_tokens} tokens\n"
            f"  took      {times['first_token']:.0f} ms to the first word "
            f"({times['read']:.0f} of them reading the file){speed if after_first > 0 else ''}\n"
        )
        for note in answer.notes:
            sys.stdout.write(f"  note      {note}\n")
        load_ms = times["load"]
    sys.stdout.write(f"\nThe model was loaded in {load_ms:.0f} ms.\n")


if __name__ == "__main__":
    main()
