"""Records in tar files: written the same every time, read at any place, damage told."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import braceexpand
import pytest
import torch
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from videollama2.checkpoints.load import load_processor
from videollama2.cli.main import app
from videollama2.training.collate import RecordDataset, Row, RowMaker
from videollama2.training.data import read_lists
from videollama2.training.errors import RecordError, RecordsError, TrainingError
from videollama2.training.labels import ChatEncoder
from videollama2.training.mixture import Mixture
from videollama2.training.recipe_file import load_recipe
from videollama2.training.records import ReadOptions, Record, read_records
from videollama2.training.run import train
from videollama2.training.shard_index import ShardIndex, expand_braces, parse_index
from videollama2.training.shard_store import ShardStore
from videollama2.training.shard_writer import write_shards
from videollama2.training.shards import ShardList
from videollama2.training.skipped import Skipped

KINDS = {".mp4": "video", ".wav": "audio", ".png": "image"}
NAMES = ("clip.mp4", "tone.wav", "picture.png", "silent.mp4", "other.mp4", "", "clip.mp4")


def record(number: int, name: str) -> dict[str, Any]:
    kind = KINDS.get(Path(name).suffix)
    question = f"<{kind}>\nWhat {number}?" if kind else f"What {number}?"
    talk = [{"from": "human", "value": question}, {"from": "gpt", "value": "This."}]
    return {"id": f"r{number}", "conversations": talk, **({kind: name} if kind else {})}


def chat(number: int) -> dict[str, Any]:
    """Two pictures and a clip in one record of messages."""
    content = [
        {"type": "image", "path": "picture.png"},
        {"type": "text", "text": f"Which {number}?"},
        {"type": "video_url", "video_url": {"url": "clip.mp4"}},
        {"type": "video", "video": "other.mp4", "end": 0.5, "sound": False},
    ]
    answer = {"role": "assistant", "content": "Both."}
    return {"id": f"r{number}", "messages": [{"role": "user", "content": content}, answer]}


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("list") / "records.jsonl"
    rows = [record(number, name) for number, name in enumerate(NAMES)]
    rows.insert(3, chat(9))
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


@pytest.fixture(scope="module")
def shards(listed: Path, media_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    write_shards(listed, out, folder=media_folder, shard_size=3)
    return out


@pytest.fixture(scope="module")
def processor(tiny_folder: Path) -> Any:
    return load_processor(tiny_folder)


def opened(path: object, cache: Path, **options: Any) -> ShardList:
    store = ShardStore(cache, **options)
    return ShardList(store.index(str(path)), ReadOptions(), store)


def same_rows(processor: Any, ours: list[Record], theirs: list[Record]) -> None:
    maker = RowMaker(processor, ChatEncoder(processor))
    for one, other in zip(ours, theirs, strict=True):
        a, b = maker.make(one), maker.make(other)
        assert (a.ids, a.labels) == (b.ids, b.labels)
        for left, right in zip(a.media, b.media, strict=True):
            for x, y in ((left.pixels, right.pixels), (left.features, right.features)):
                assert (x is None and y is None) or torch.equal(x, y)  # type: ignore[arg-type]


def test_shards_hold_what_the_list_does(
    shards: Path, listed: Path, media_folder: Path, processor: Any, tmp_path: Path
) -> None:
    plain = read_records(listed, ReadOptions(media_folder))
    ours = opened(shards / "shards.json", tmp_path)
    assert ours.pieces == (3, 3, 2)
    assert [one.id for one in ours] == [one.id for one in plain]
    same_rows(processor, [ours[place] for place in range(8)], list(plain))
    with pytest.raises(IndexError):
        ours[8]


def test_webdataset_reads_ours(shards: Path, media_folder: Path) -> None:
    """The library's own reader finds the same samples, in order, byte for byte."""
    names = [str(shards / f"shard-00000{n}.tar") for n in range(3)]
    samples = list(webdataset.WebDataset(names, shardshuffle=False))
    assert len(samples) == 8
    first, mixed = samples[0], samples[3]
    assert first["mp4"] == (media_folder / "clip.mp4").read_bytes()
    assert json.loads(first["json"])["video"] == f"{first['__key__']}.mp4"
    assert mixed["0.mp4"] == (media_folder / "clip.mp4").read_bytes()
    assert mixed["1.mp4"] == (media_folder / "other.mp4").read_bytes()
    assert mixed["png"] == (media_folder / "picture.png").read_bytes()


def test_we_read_webdatasets(
    media_folder: Path, listed: Path, processor: Any, tmp_path: Path
) -> None:
    """Shards of its writer, with paths as sources and no index, which is made on first use."""
    rows = [json.loads(line) for line in listed.read_text().splitlines()]
    rows = [row for row in rows if "conversations" in row]
    pattern = str(tmp_path / "part-%06d.tar")
    with webdataset.ShardWriter(pattern, maxcount=3, verbose=0) as writer:
        for number, row in enumerate(rows):
            sample: dict[str, Any] = {"__key__": f"folder/{number:04}", "json": row}
            for kind in ("video", "audio", "image"):
                if kind in row:
                    name = Path(row[kind])
                    sample[name.suffix[1:]] = (media_folder / name).read_bytes()
            writer.write(sample)
    cache = tmp_path / "cache"
    ours = opened(tmp_path / "part-{000000..000002}.tar", cache)
    assert ours.pieces == (3, 3, 1)
    assert len(list(cache.glob("*.json"))) == 1
    good = tmp_path / "plain.jsonl"
    good.write_text("\n".join(map(json.dumps, rows)))
    same_rows(processor, list(ours), list(read_records(good, ReadOptions(media_folder))))
    assert opened(tmp_path / "part-{000000..000002}.tar", cache).pieces == (3, 3, 1)
    assert opened(tmp_path / "part-000001.tar", cache).pieces == (3,)


def test_same_bytes_and_going_on(listed: Path, media_folder: Path, tmp_path: Path) -> None:
    def made(out: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(out.glob("shard*"))}

    whole, broken = tmp_path / "a", tmp_path / "b"
    write_shards(listed, whole, folder=media_folder, shard_size=3)

    def stop(done: int, total: int) -> None:
        assert total == 8
        if done == 6:
            raise InterruptedError

    with pytest.raises((InterruptedError, TrainingError)):
        write_shards(listed, broken, folder=media_folder, shard_size=3, progress=stop)
    (broken / ".shard-000002.tar.partial").write_bytes(b"half")
    assert not (broken / "shards.json").exists()
    kept = (broken / "shard-000000.tar").stat().st_mtime_ns
    written = write_shards(listed, broken, folder=media_folder, shard_size=3)
    assert (written.taken_over, written.records) == (2, 8)
    assert (broken / "shard-000000.tar").stat().st_mtime_ns == kept
    assert made(whole) == made(broken)
    assert not list(broken.glob(".*.partial"))
    with pytest.raises(TrainingError, match="choose another --out"):
        write_shards(listed, broken, folder=media_folder, shard_size=4)


def test_what_cannot_go_in_is_listed(media_folder: Path, tmp_path: Path) -> None:
    rows: list[Any] = [record(0, "clip.mp4"), record(1, "none.mp4"), {"id": 2}, record(3, "")]
    rows.append({**record(4, "x.mp4"), "video": "frames"})
    path, out = tmp_path / "records.json", tmp_path / "out"
    path.write_text(json.dumps(rows))
    done = CliRunner().invoke(
        app, ["data", "shard", str(path), "--folder", str(media_folder), "--out", str(out)]
    )
    assert done.exit_code == 1
    assert "3 records are left out" in done.stderr
    left_out = [json.loads(line) for line in (out / "left_out.jsonl").read_text().splitlines()]
    assert len(left_out) == 3
    assert [one.id for one in opened(out / "shards.json", tmp_path)] == ["r0", "r3"]


@pytest.mark.parametrize("how", ["cut", "cut between", "header", "empty", "missing", "media"])
def test_damaged_shards(
    how: str, shards: Path, processor: Any, tmp_path: Path, media_folder: Path
) -> None:
    """The records of a damaged shard are skipped and named; the others are as they were."""
    out = tmp_path / "shards"
    out.mkdir()
    for path in shards.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    target = out / "shard-000001.tar"
    data = bytearray(target.read_bytes())
    if how == "cut":
        del data[len(data) // 2 :]
    elif how == "cut between":  # no zeros at the end, and a sample less
        import tarfile

        with tarfile.open(target) as tar:
            del data[tar.getmembers()[-1].offset :]
    elif how == "header":
        data[data.index(b"000000004.json") + 150] ^= 1
    elif how == "empty":
        data.clear()
    elif how == "media":
        data[data.index(b"ftyp") + 600] ^= 255
    target.write_bytes(data)
    if how == "missing":
        target.unlink()
        index = str(out / "shards.json")
        recipe = load_recipe("lora", [f"data.files={index}"])
        with pytest.raises(RecordsError, match="no such file"):
            read_lists(recipe)
    ours = opened(out / "shards.json", tmp_path / "cache", verify=how == "media")
    dataset = RecordDataset(
        [ours], Mixture((8,), None, 1, (ours.pieces,)),
        [RowMaker(processor, ChatEncoder(processor))], 16,
    )  # fmt: skip
    items = [dataset[position] for position in range(16)]
    left_out = [item for item in items if isinstance(item, Skipped)]
    assert len(left_out) == 6
    assert sum(isinstance(item, Row) for item in items) == 10
    assert all(item.file.endswith("shard-000001.tar") and item.reason for item in left_out)
    if how not in ("missing", "media"):  # without an index nothing is guessed
        bare = tmp_path / "bare.tar"
        bare.write_bytes(bytes(data))
        with pytest.raises(RecordError):
            opened(bare, tmp_path / "cache2")


@pytest.fixture
def served(shards: Path, tmp_path: Path) -> Generator[tuple[str, list[str], Path]]:
    """The shards from a server on this machine, and what was asked of it."""
    asked: list[str] = []
    root = tmp_path / "www"
    root.mkdir()
    for path in shards.iterdir():
        (root / path.name).write_bytes(path.read_bytes())

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(root))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked, root
    server.shutdown()
    server.server_close()


def test_from_a_server(
    served: tuple[str, list[str], Path], shards: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each shard is fetched once, whole; where a run goes on, nothing before is asked for."""
    monkeypatch.setattr("videollama2.training.shard_store._PAUSE_S", 0.0)
    address, asked, root = served
    cache = tmp_path / "cache"
    with pytest.raises(RecordError, match="private or local network"):
        opened(f"{address}/shards.json", cache)
    ours = opened(f"{address}/shards.json", cache, allow_private_hosts=True)
    there = opened(shards / "shards.json", cache)
    assert ours[7].id == there[7].id
    assert asked == ["/shards.json", "/shard-000002.tar"]
    assert [one.turns[1].text for one in ours] == [one.turns[1].text for one in there]
    assert sorted(asked[1:]) == [f"/shard-00000{n}.tar" for n in range(3)]
    (root / "shard-000001.tar").write_bytes((root / "shard-000001.tar").read_bytes()[:-700])
    again = opened(f"{address}/shards.json", tmp_path / "other", allow_private_hosts=True)
    with pytest.raises(RecordError, match="are listed"):
        again[3]
    tries = asked.count("/shard-000001.tar")
    with pytest.raises(RecordError, match="are listed"):
        again[4]
    assert asked.count("/shard-000001.tar") == tries  # not asked for again
    assert again[0].id == there[0].id


def test_a_check_reads_as_its_recipe_says(
    served: tuple[str, list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe says which hosts may be asked, and where shards are kept."""
    monkeypatch.setattr("videollama2.training.shard_store._PAUSE_S", 0.0)
    address, asked, _ = served
    cache = tmp_path / "kept"
    given = [
        "data", "check", "--recipe", "video_finetune", "--headers", "--workers", "1",
        f"data.files={address}/shards.json", f"data.shard_cache={cache}",
    ]  # fmt: skip
    refused = CliRunner().invoke(app, given)
    assert refused.exit_code != 0
    assert "private or local network" in refused.output
    assert asked == []
    done = CliRunner().invoke(app, [*given, "data.allow_private_hosts=true"])
    assert done.exit_code == 0, done.output
    assert sorted(asked) == [*(f"/shard-00000{n}.tar" for n in range(3)), "/shards.json"]
    assert list(cache.rglob("*.tar"))


def test_from_a_store(shards: Path, tmp_path: Path) -> None:
    """Through fsspec, here its memory; the cache keeps the last few."""
    import fsspec

    memory: Any = fsspec.filesystem("memory")
    for path in shards.glob("shard*"):
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
    ours = opened("memory://bucket/shards.json", tmp_path / "cache", kept=1)
    assert [one.id for one in ours] == [one.id for one in opened(shards / "shards.json", tmp_path)]
    assert len(list((tmp_path / "cache").glob("*.tar"))) == 1
    counted = opened("memory://bucket/shard-{000000..000002}.tar", tmp_path / "other")
    assert counted.pieces == (3, 3, 2)
    with pytest.raises(RecordError, match="cannot be fetched"):
        opened("nonsense://bucket/shards.json", tmp_path)
    with pytest.raises(RecordError, match="chained"):
        opened("memory://x::http://127.0.0.1/shards.json", tmp_path)


def test_a_run_on_shards(
    shards: Path, tiny_folder: Path, settings: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Workers or none, the same losses; every record read."""
    noted: list[list[float]] = []
    for workers in (0, 2):
        folder = tmp_path / f"run{workers}"
        given_ = [
            *settings(folder, f"data.workers={workers}", "optimizer.epochs=1"),
            f"data.files=[{{path: {shards / 'shards.json'}}}]",
        ]
        outcome = train(load_recipe("video_finetune", given_))
        assert (outcome.step, outcome.steps) == (2, 2)
        assert not (folder / "skipped.jsonl").exists()
        noted.append([json.loads(line)["loss"] for line in (folder / "metrics.jsonl").open()])
    assert noted[0] == noted[1]


def test_shards_are_checked(shards: Path, tmp_path: Path) -> None:
    def run(path: Path) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["data", "check", str(path), "--workers", "1"])
        return done.exit_code, done.stdout

    assert run(shards / "shards.json")[0] == 0
    for path in shards.glob("shard*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    target = tmp_path / "shard-000001.tar"
    data = bytearray(target.read_bytes())
    data[data.index(b"ftyp") + 600] ^= 255
    target.write_bytes(data)
    code, out = run(tmp_path / "shards.json")
    assert code == 1
    assert "damaged shard            3" in out


@given(
    st.from_regex(
        r"[a-c]{0,3}(\{(0{0,2}[0-9]\.\.0{0,2}[0-9]|x,y)\}[a-c]{0,2}){0,2}", fullmatch=True
    )
)
def test_braces(pattern: str) -> None:
    assert list(expand_braces(pattern)) == list(braceexpand.braceexpand(pattern))


HEAD = '{"format": "videollama2-shards", "version": 1, "shards": ['


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "videollama2-shards", "version": 2, "shards": []}',
        HEAD + "]}",
        HEAD + '{"name": "../a.tar", "records": 1}]}',
        HEAD + '{"name": "a.tar", "records": "1"}]}',
    ],
)
def test_no_index(text: str) -> None:
    with pytest.raises(RecordError, match=r"index of shards|no records"):
        parse_index(text, "folder/shards.json")


def test_an_index_comes_back(shards: Path) -> None:
    text = (shards / "shards.json").read_text()
    index = parse_index(text, str(shards / "shards.json"))
    assert isinstance(index, ShardIndex)
    assert index.to_json() == text
