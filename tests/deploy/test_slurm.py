"""Slurm's examples: their options by name, and run with stand-ins for Slurm's commands."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

SLURM = Path(__file__).parents[2] / "deploy" / "slurm"
SCRIPTS = sorted(SLURM.glob("*.sbatch"))
BATCH_OPTIONS = {
    "job-name", "nodes", "ntasks", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "mem",
    "time", "signal", "requeue", "open-mode", "output", "array",
}  # fmt: skip


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_batch_scripts(file: Path) -> None:
    subprocess.run(["bash", "-n", str(file)], check=True)
    lines = file.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    options = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    first = next(n for n, line in enumerate(lines) if line.strip() and not line.startswith("#"))
    assert options
    assert max(options) < first  # Slurm reads none after the first command
    for number in options:
        match = re.fullmatch(r"#SBATCH --([a-z-]+)(?:=(\S+))?", lines[number])
        assert match, lines[number]
        assert match[1] in BATCH_OPTIONS
    given = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)", file.read_text(), re.MULTILINE))
    assert re.fullmatch(r"(\d+-)?\d+:\d\d:\d\d", given["time"])


def stand_in(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)


def start(file: Path, folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.Popen(
        ["bash", str(file), *arguments], env={**os.environ, **environment, "PATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
    )  # fmt: skip


def test_an_array_job_takes_its_share(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin", "srun", 'printf "%s\\n" "$@"')
    run = start(SLURM / "caption.sbatch", tmp_path / "bin", "in dir/*.tar", "out dir",
                SLURM_ARRAY_TASK_ID="3", SLURM_ARRAY_TASK_COUNT="64")  # fmt: skip
    assert run.communicate(timeout=60)[0].splitlines() == [
        "videollama2", "caption", "in dir/*.tar", "out dir/3.jsonl", "--share", "3/64",
        "--model", "DAMO-NLP-SG/VideoLLaMA2.1-7B-AV",
    ]  # fmt: skip


def test_training_is_saved_and_put_back_before_the_time_is_over(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    stand_in(folder, "srun", 'echo "$@" >> said; echo $$ > pid; trap "echo saved >> said; exit 0" '
             'TERM; while true; do sleep 0.1; done')  # fmt: skip
    stand_in(folder, "scancel", 'echo "scancel $@" >> said; kill -TERM $(cat pid)')
    stand_in(folder, "scontrol", '[ "$1" = show ] && printf "n1\\nn2\\n" || echo "$@" >> said')
    run = start(SLURM / "train.sbatch", folder, "video_finetune", "data.files=a.json",
                SLURM_JOB_ID="7", SLURM_NNODES="4", SLURM_JOB_NODELIST="n[1-2]")  # fmt: skip
    while not (folder / "pid").exists():
        assert run.poll() is None
        time.sleep(0.05)
    run.terminate()
    run.communicate(timeout=60)
    assert run.returncode == 0
    launched, *rest = (folder / "said").read_text().splitlines()
    assert "--rdzv-endpoint n1:29500" in launched
    assert launched.endswith("train video_finetune data.files=a.json parallel.kind=fsdp2")
    assert rest == ["scancel --signal=TERM 7", "saved", "requeue 7"]
