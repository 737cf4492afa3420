"""Files that survive being killed, and a disk that is full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.storage.lines import DamagedLineError, GrowingFile, iterate_lines, write_whole

FULL = """
import resource, signal, sys
from pathlib import Path
from videollama2.storage.lines import GrowingFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
file = GrowingFile(Path(sys.argv[1]))
file.append([{"a": 1}])
try:
    file.append([{"a": "x" * 300}])
except OSError:
    sys.exit(3)
"""


def test_write_whole_leaves_nothing_half(tmp_path: Path) -> None:
    write_whole(tmp_path / "new" / "a.txt", "one")
    write_whole(tmp_path / "new" / "a.txt", "two")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]
    assert (tmp_path / "new" / "a.txt").read_text() == "two"


def test_what_does_not_fit_on_the_disk_is_not_there_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert subprocess.run([sys.executable, "-c", FULL, str(path)], check=False).returncode == 3
    assert path.read_bytes() == b'{"a": 1}\n'


@given(st.binary(max_size=300_000), st.sampled_from([b"", b"{}\n", b'{"a": 1}\n{"b": 2}\n']))
def test_an_unfinished_line_of_any_length_is_dropped(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, whole: bytes
) -> None:
    path = tmp_path_factory.mktemp("growing") / "a.jsonl"
    path.write_bytes(whole + tail.replace(b"\n", b"x"))
    GrowingFile(path)
    assert path.read_bytes() == whole


def test_damage_inside_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": \n{"a": 2}\n')
    with pytest.raises(DamagedLineError, match=r"a\.jsonl: line 2 is damaged"):
        list(iterate_lines(path))
    assert list(iterate_lines(tmp_path / "none.jsonl")) == []
