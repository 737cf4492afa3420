"""Folders, lists, patterns, tables and shards: each clip once, under a name of its own."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from videollama2.media.limits import DEFAULT_LIMITS
from videollama2.scale.clips import Cell, Clip, Names, Share, Slice
from videollama2.scale.errors import BulkError
from videollama2.scale.inputs import find_clips
from videollama2.scale.intake import medium_of


def clips_of(given: object) -> list[Clip]:
    return list(Names().distinct(find_clips(str(given)).clips))


def ids_of(given: object) -> list[str]:
    return [clip.id for clip in clips_of(given)]


def content(clip: Clip) -> bytes:
    medium = medium_of(clip, DEFAULT_LIMITS)
    return medium if isinstance(medium, bytes) else Path(medium).read_bytes()


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def tar(path: Path, members: list[tuple[bytes, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(os.fsdecode(name))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_a_folder_to_its_bottom(tmp_path: Path) -> None:
    touch(tmp_path / "b.MP4", tmp_path / "a/c.wav", tmp_path / "a/._c.wav", tmp_path / "a/n.json")
    found = find_clips(str(tmp_path))
    assert [clip.id for clip in found.clips] == ["b.MP4", "a/c.wav"]
    assert found.ignored == 1


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    assert ids_of(tmp_path) == []
    with pytest.raises(BulkError, match="no such file or folder"):
        find_clips(str(tmp_path / "none"))
    with pytest.raises(BulkError, match="nothing has such a name"):
        find_clips(str(tmp_path / "*.mp4"))


def test_a_list_beside_its_clips_with_one_named_twice(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    list_ = tmp_path / "list.txt"
    list_.write_bytes(b"a.mp4\r\n\nhttps://example.org/b.mp4\na.mp4\n/none/c.mp4\n")
    names = Names()
    clips = list(names.distinct(find_clips(str(list_)).clips))
    assert [clip.id for clip in clips] == ["a.mp4", "https://example.org/b.mp4", "/none/c.mp4"]
    assert [clip.path for clip in clips][:2] == [str(tmp_path / "a.mp4"), clips[1].id]
    assert names.duplicates == 1


def test_ranges_and_questions_in_json_lines(tmp_path: Path) -> None:
    list_ = tmp_path / "list.jsonl"
    list_.write_text(
        '{"clip": "a.mp4", "start": 3, "end": 5.5}\n{"clip": "a.mp4"}\n'
        '{"clip": "a.mp4", "id": "x", "question": "Who?"}\n'
    )
    clips = clips_of(list_)
    assert [clip.id for clip in clips] == ["a.mp4#t=3,5.5", "a.mp4", "x"]
    assert (clips[0].start, clips[0].end, clips[2].questions) == (3.0, 5.5, ("Who?",))


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "{}", '{"clip": ""}', '{"clip": "a", "start": "1"}', '{"clip": "a", "x": 1}'],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "l.jsonl").write_text('{"clip": "a"}\n' + line)
    with pytest.raises(BulkError, match=r"l\.jsonl, line 2"):
        clips_of(tmp_path / "l.jsonl")


def test_names_that_are_no_utf8_come_through(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    (tmp_path / name).write_bytes(b"one")
    (tmp_path / "caf\\xe9.mp4").write_bytes(b"two")
    clips = clips_of(tmp_path)
    assert sorted(clip.id for clip in clips) == ["caf\\xe9.mp4", "caf\\xe9.mp4#2"]
    assert {content(Clip.from_json(clip.as_json())) for clip in clips} == {b"one", b"two"}
    assert all(clip.id.encode() for clip in clips)


def test_shards_as_webdataset_reads_them(tmp_path: Path) -> None:
    for shard in range(2):
        with webdataset.TarWriter(str(tmp_path / f"s-{shard:03}.tar")) as writer:
            for number in range(3):
                key = f"clips/{shard}{number}"
                sample = {"json": {"n": number}, "wav": b"w", "mp4": f"{key} bytes".encode()}
                writer.write({"__key__": key, **sample})
    pattern = str(tmp_path / "s-{000..001}.tar")
    clips = clips_of(pattern)
    oracle = webdataset.WebDataset(pattern, shardshuffle=False)
    assert [content(clip) for clip in clips] == [sample["mp4"] for sample in oracle]
    assert len(clips) == 6
    assert clips[0].id.endswith("s-000.tar/clips/00.mp4")


def test_collisions_and_odd_names_in_a_shard(tmp_path: Path) -> None:
    members = [(b"a.mp4", b"1"), (b"b.mp4", b"2"), (b"a.mp4", b"3"), (b"\xff.mp4", b"4")]
    clips = clips_of(tar(tmp_path / "s.tar", [*members, (b"readme", b""), (b".hidden", b"")]))
    assert [content(clip) for clip in clips] == [b"1", b"2", b"3", b"4"]
    names = [clip.id.rpartition("/")[2] for clip in clips]
    assert names == ["a.mp4", "b.mp4", "a.mp4#2", "\\xff.mp4"]


def test_a_shard_that_breaks_off(tmp_path: Path) -> None:
    file = tar(tmp_path / "s.tar", [(b"a.mp4", b"1" * 2000), (b"b.mp4", b"2" * 2000)])
    whole = file.read_bytes()
    file.write_bytes(whole[:3500])  # within b.mp4
    first, second, shard = clips_of(file)
    assert content(first) == b"1" * 2000
    with pytest.raises(ValueError, match="its archive ends"):
        content(second)
    assert "cannot be read to its end" in str(shard.problem)
    file.write_bytes(b"no archive" * 100)
    (only,) = clips_of(file)
    assert "cannot be read" in str(only.problem)
    touch(tmp_path / "v.mp4")
    assert ids_of(tmp_path) == ["s.tar", "v.mp4"]


def test_tables_of_paths_and_of_bytes(tmp_path: Path) -> None:
    table = {"video": ["a.mp4", "/b.mp4", None], "start": [None, 2.0, None]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "t.parquet")
    clips = clips_of(tmp_path / "t.parquet")
    assert [clip.id for clip in clips[:2]] == ["a.mp4", "/b.mp4#t=2"]
    assert clips[0].path == str(tmp_path / "a.mp4")
    assert "empty" in str(clips[2].problem)
    cells = [{"bytes": data, "path": "p"} for data in (b"1", b"2", b"3")]
    rows = {"id": ["x", "y", "x"], "video": cells}
    pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "b.parquet", row_group_size=2)
    clips = clips_of(tmp_path / "b.parquet")
    assert [clip.id for clip in clips] == ["x", "y", "x#2"]
    assert [content(clip) for clip in clips] == [b"1", b"2", b"3"]


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing PAR1")
    pyarrow.parquet.write_table(pyarrow.table({"n": [1]}), tmp_path / "b.parquet")
    first, second = clips_of(tmp_path)
    assert "no Parquet" in str(first.problem)
    assert "no column of paths" in str(second.problem)


@given(
    st.builds(
        Clip, st.text(), st.binary().map(os.fsdecode), st.none() | st.floats(0, 9), st.none(),
        st.lists(st.text()).map(tuple),
        st.none() | st.builds(Slice, st.integers(), st.integers())
        | st.builds(Cell, st.integers(), st.integers(), st.text()), st.none() | st.text(),
    )
)  # fmt: skip
def test_a_clip_goes_through_json(clip: Clip) -> None:
    assert Clip.from_json(clip.as_json()) == clip
    assert clip.as_json().isascii()


@given(st.lists(st.tuples(st.sampled_from("ab#2"), st.integers(0, 3)), max_size=30))
def test_names_are_distinct_and_stable(given_: list[tuple[str, int]]) -> None:
    clips = [Clip(name, str(place)) for name, place in given_]
    found = list(Names().distinct(clips))
    assert len({clip.id for clip in found}) == len(found)
    assert {(clip.path, clip.id.partition("#")[0]) for clip in found} == {
        (clip.path, clip.id.partition("#")[0]) for clip in clips
    }
    assert found == list(Names().distinct(clips))


def test_shares_are_a_partition() -> None:
    clips = [Clip(f"{number}.mp4", "") for number in range(1000)]
    shares = [[clip for clip in clips if Share(place, 7).has(clip)] for place in range(7)]
    assert sum(map(len, shares)) == 1000
    assert min(map(len, shares)) > 90
    assert Share.parse("3/16") == Share(3, 16)
    for wrong in ("1", "2/2", "a/b", "-1/3", "0/0"):
        with pytest.raises(ValueError, match="a share is"):
            Share.parse(wrong)
