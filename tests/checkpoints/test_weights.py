"""Reading tensors from files, held against safetensors and torch themselves; damage is named."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from videollama2.checkpoints.errors import CheckpointError
from videollama2.checkpoints.shards import open_folder
from videollama2.checkpoints.weights import DTYPES, StoredTensor, open_weights
from videollama2.checkpoints.writing import NamedTensor, parse_size, write_file, write_sharded

State = dict[str, torch.Tensor]


def make_state(seed: int = 0) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {
        "matrix": torch.randn(7, 5, generator=generator),
        "half": torch.randn(3, 4, generator=generator).half(),
        "brain": torch.randn(9, generator=generator).bfloat16(),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "whole": torch.arange(6).reshape(2, 3),
        "flags": torch.tensor([True, False, True]),
        "eighth": torch.randn(4, generator=generator).to(torch.float8_e4m3fn),
    }


def assert_same(stored: dict[str, StoredTensor], state: State) -> None:
    assert stored.keys() == state.keys()
    for name, value in state.items():
        read = stored[name].read()
        assert read.dtype == value.dtype
        assert read.shape == value.shape
        assert read.view(-1).view(torch.uint8).equal(value.contiguous().view(-1).view(torch.uint8))


def test_safetensors_are_read_as_safetensors_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(make_state(), path, metadata={"format": "pt"})
    assert_same(open_weights(path), load_file(path))


@pytest.mark.parametrize("suffix", [".bin", ".pt"])
def test_pickles_are_read_as_torch_reads_them(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    torch.save(OrderedDict(make_state()), path)
    assert_same(open_weights(path), make_state())
    assert all(part.held is None for part in open_weights(path).values())  # streamed, not held


def test_views_shared_storages_and_the_old_format(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    state = {"whole": whole, "rows": whole[1:3], "turned": whole.T, "again": whole}
    torch.save(state, tmp_path / "views.bin")
    assert_same(open_weights(tmp_path / "views.bin"), state)
    old = {name: value for name, value in make_state().items() if name != "eighth"}
    torch.save(old, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert_same(open_weights(tmp_path / "old.bin"), old)


def test_a_repacked_archive_is_no_silent_nonsense(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, tmp_path / "plain.bin")
    with (
        zipfile.ZipFile(tmp_path / "plain.bin") as plain,
        zipfile.ZipFile(tmp_path / "packed.bin", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    assert_same(open_weights(tmp_path / "packed.bin"), {"w": torch.zeros(1000)})


def test_a_state_dict_under_model_is_found(tmp_path: Path) -> None:
    torch.save({"cfg": {"a": 1}, "model": make_state()}, tmp_path / "beats.pt")
    assert_same(open_weights(tmp_path / "beats.pt"), make_state())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_reading_into_another_dtype_equals_casting(tmp_path: Path, dtype: torch.dtype) -> None:
    value = torch.randn(3000, 2000)  # more than one buffer
    save_file({"w": value}, tmp_path / "w.safetensors")
    target = torch.empty(3000, 2000, dtype=dtype)
    open_weights(tmp_path / "w.safetensors")["w"].read_into(target)
    assert torch.equal(target, value.to(dtype))


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 0.999), kind=st.sampled_from(["safetensors", "bin"]))
def test_a_file_cut_anywhere_is_an_error_that_names_it(
    tmp_path_factory: pytest.TempPathFactory, cut: float, kind: str
) -> None:
    path = tmp_path_factory.mktemp("cut") / f"w.{kind}"
    state = {name: value for name, value in make_state().items() if value.numel()}
    if kind == "bin":
        torch.save(state, path)
    else:
        save_file(state, path)
    path.write_bytes(path.read_bytes()[: int(cut * path.stat().st_size)])
    with pytest.raises(CheckpointError) as raised:
        open_weights(path)
    assert str(path) in str(raised.value)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200))
def test_garbage_is_an_error_that_names_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    for suffix in ("safetensors", "bin"):
        path = tmp_path_factory.mktemp("junk") / f"w.{suffix}"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"w\."):
            open_weights(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},  # shorter than its shape
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},  # beyond the data
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": ["a"], "data_offsets": [0, 8]},
        {"dtype": "F32"},
        [],
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, entry: object) -> None:
    header = json.dumps({"w": entry}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(CheckpointError, match="damaged header"):
        open_weights(path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"w": Trap()}, tmp_path / "trap.bin")
    (tmp_path / "bare.bin").write_bytes(pickle.dumps({"w": Trap()}))
    for name in ("trap.bin", "bare.bin"):
        with pytest.raises(CheckpointError, match=name):
            open_weights(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "list.bin")
    torch.save({"w": torch.ones(1), "epoch": 3}, tmp_path / "mixed.bin")
    with pytest.raises(CheckpointError, match=r"list\.bin"):
        open_weights(tmp_path / "list.bin")
    with pytest.raises(CheckpointError, match="epoch"):
        open_weights(tmp_path / "mixed.bin")


# --- folders ---


def test_shards_are_read_together_and_their_absence_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "s1.safetensors")
    save_file({"b": torch.ones(3)}, tmp_path / "s2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    files = {"a": "s1.safetensors", "b": "s2.safetensors"}
    index.write_text(json.dumps({"weight_map": files}))
    assert_same(open_folder(tmp_path), {"a": torch.ones(2), "b": torch.ones(3)})

    index.write_text(json.dumps({"weight_map": {**files, "c": "s2.safetensors"}}))
    with pytest.raises(CheckpointError, match="no shard holds: c"):
        open_folder(tmp_path)
    (tmp_path / "s2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"not there: s2\.safetensors"):
        open_folder(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": "../outside.safetensors"}}))
    with pytest.raises(CheckpointError, match="outside"):
        open_folder(tmp_path)


# --- writing ---


def named(path: Path) -> list[NamedTensor]:
    return [NamedTensor(name, part) for name, part in open_weights(path).items()]


def test_what_is_written_is_what_safetensors_reads(tmp_path: Path) -> None:
    torch.save(make_state(), tmp_path / "w.bin")
    write_file(tmp_path / "out.safetensors", named(tmp_path / "w.bin"))
    read = load_file(tmp_path / "out.safetensors")
    assert_same(open_weights(tmp_path / "w.bin"), read)


def test_shards_hold_at_most_what_was_asked(tmp_path: Path) -> None:
    state = {f"w{index}": torch.randn(100) for index in range(10)} | {"big": torch.randn(1000)}
    save_file(state, tmp_path / "all.safetensors")
    out = tmp_path / "out"
    out.mkdir()
    write_sharded(out, named(tmp_path / "all.safetensors"), 1000)
    shards = sorted(out.glob("*.safetensors"))
    for shard in shards:
        sizes = [value.nbytes for value in load_file(shard).values()]
        assert sum(sizes) <= 1000 or len(sizes) == 1
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in state.values())
    assert set(index["weight_map"].values()) == {shard.name for shard in shards}
    assert_same(open_folder(out), state)


@pytest.mark.parametrize(
    ("said", "size"), [("5GB", 5 * 10**9), ("1.5MiB", 3 * 2**19), (17, 17), ("300kb", 300_000)]
)
def test_sizes(said: str | int, size: int) -> None:
    assert parse_size(said) == size


@pytest.mark.parametrize("said", ["", "GB", "-1GB", "0", "5 apples"])
def test_what_is_no_size(said: str) -> None:
    with pytest.raises(CheckpointError, match="no size"):
        parse_size(said)


def test_every_safetensors_dtype_of_a_byte_or_more_is_known() -> None:
    assert {dtype.itemsize for dtype in DTYPES.values()} == {1, 2, 4, 8}
