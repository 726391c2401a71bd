"""Checkpoints: what goes in comes out, equal contents are equal bytes, and no damage goes unseen."""

from __future__ import annotations

import json
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from tinygrad_rnn.models.checkpoint import FORMAT, Checkpoint, CheckpointError, load, save

DTYPES = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@st.composite
def views(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Arrays of every dtype, 0-d, empty and larger, as they lie in memory or through a view with other strides."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    if dtype.kind != "b":
        dtype = dtype.newbyteorder(draw(st.sampled_from("<>")))
    shape = draw(nps.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    array = draw(nps.arrays(dtype, shape))
    kind = draw(st.sampled_from(["whole", "transposed", "reversed", "sliced", "repeated"]))
    if kind == "transposed":
        return array.T
    if kind == "reversed" and array.ndim:
        return array[::-1]
    if kind == "sliced" and array.ndim:
        return array[..., ::2]
    if kind == "repeated":
        return np.broadcast_to(array, (2, *shape))
    return array


names = st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__")
arrays_by_name = st.dictionaries(names, views(), max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
metas = st.dictionaries(st.text(), json_values, max_size=4)


def same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Bit for bit, NaN and the sign of zero included; the byte order of the machine is the saved one."""
    native = np.asarray(a, dtype=a.dtype.newbyteorder("="), order="C")
    return a.shape == b.shape and native.dtype == b.dtype and native.tobytes() == b.tobytes()


def small(path: Path) -> bytes:
    """A checkpoint of a few hundred bytes."""
    weights = {"model.w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "flag": np.array(True)}
    save(path, weights, {"words": ["über", "naïve", "词"], "lr": 0.1})
    return path.read_bytes()


def refused(path: Path) -> str:
    """The one sentence with which `load` refuses a file."""
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message, message
    return message


@given(arrays_by_name, metas)
def test_what_is_saved_comes_back_bit_for_bit(
    folder: Path, arrays: dict[str, np.ndarray[Any, Any]], meta: dict[str, Any]
) -> None:
    save(folder / "round.safetensors", arrays, meta)
    found = load(folder / "round.safetensors")
    assert found.meta == meta
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert same(array, found.arrays[name]), name


def test_a_transposed_view_comes_back_as_it_looks(tmp_path: Path) -> None:
    a = np.arange(12.0).reshape(3, 4)
    save(tmp_path / "c", {"a": a.T}, {})
    np.testing.assert_array_equal(load(tmp_path / "c").arrays["a"], a.T)


@given(arrays_by_name, metas)
def test_equal_contents_give_equal_bytes_whatever_their_order_and_strides(
    folder: Path, arrays: dict[str, np.ndarray[Any, Any]], meta: dict[str, Any]
) -> None:
    save(folder / "one", arrays, meta)
    copies = {name: np.array(arrays[name], order="F") for name in reversed(list(arrays))}
    save(folder / "two", copies, {key: meta[key] for key in reversed(list(meta))})
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()


@given(st.data())
def test_other_contents_give_other_bytes_and_another_hash(folder: Path, data: st.DataObject) -> None:
    array = data.draw(nps.arrays(np.float32, (2, 2), elements=st.floats(-1, 1, width=32)))
    save(folder / "one", {"a": array}, {"x": 1})
    save(folder / "two", {"a": array + np.float32(4)}, {"x": 1})
    assert (folder / "one").read_bytes() != (folder / "two").read_bytes()


def test_every_single_flipped_bit_is_detected(tmp_path: Path) -> None:
    whole = small(tmp_path / "whole")
    path = tmp_path / "flipped"
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        refused(path)


@given(st.integers(min_value=0), st.integers(1, 255))
def test_every_changed_byte_is_detected(folder: Path, place: int, change: int) -> None:
    whole = bytearray(small(folder / "whole"))
    whole[place % len(whole)] ^= change
    (folder / "changed").write_bytes(whole)
    refused(folder / "changed")


def test_a_file_cut_at_any_length_is_detected(tmp_path: Path) -> None:
    whole = small(tmp_path / "whole")
    path = tmp_path / "cut"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path)


def test_a_file_with_something_behind_it_is_detected(tmp_path: Path) -> None:
    (tmp_path / "longer").write_bytes(small(tmp_path / "whole") + b"\0")
    refused(tmp_path / "longer")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"a text file, and nothing else\n" * 20,
        pickle.dumps({"w": np.ones(3)}),
        safetensors.numpy.save({"w": np.ones(3)}),
        safetensors.numpy.save({"w": np.ones(3)}, metadata={"format": "np"}),
    ],
    ids="empty zeros text pickle safetensors safetensors-with-metadata".split(),
)
def test_a_foreign_file_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "foreign").write_bytes(content)
    refused(tmp_path / "foreign")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "null",
        '"text"',
        "{}",
        "{" * 50,
        "[" * 100_000,
        '{"sha256": "", "format": "tinygrad_rnn checkpoint 1"}',
        '{"sha256": "", "format": "tinygrad_rnn checkpoint 1", "meta": NaN}',
        '{"sha256": "", "format": "tinygrad_rnn checkpoint 1", "meta": {}}',
        '{"sha256": "", "format": "tinygrad_rnn checkpoint 2", "meta": {}}',
        '{"sha256": "", "format": [], "meta": {}}',
    ],
)
def test_a_safetensors_file_with_another_description_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "foreign").write_bytes(safetensors.numpy.save({"w": np.ones(3)}, metadata={"tinygrad_rnn": text}))
    refused(tmp_path / "foreign")


@pytest.mark.parametrize("dtype, size", [("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1), ("C64", 8)])
def test_a_file_with_dtypes_that_numpy_does_not_have_is_refused(tmp_path: Path, dtype: str, size: int) -> None:
    described = {
        "w": {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]},
        "__metadata__": {"tinygrad_rnn": json.dumps({"sha256": "", "format": FORMAT, "meta": {}})},
    }
    header = json.dumps(described).encode()
    (tmp_path / "foreign").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2 * size))
    refused(tmp_path / "foreign")


def test_another_format_is_named(tmp_path: Path) -> None:
    text = json.dumps({"sha256": "", "format": "tinygrad_rnn checkpoint 9", "meta": {}})
    (tmp_path / "later").write_bytes(safetensors.numpy.save({}, metadata={"tinygrad_rnn": text}))
    assert "checkpoint 9" in refused(tmp_path / "later")


def test_a_missing_file_and_a_folder_are_refused_as_what_they_are(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "missing")
    assert "folder" in refused(tmp_path)


def test_values_that_json_does_not_have_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf"), [1.0, -float("inf")], {"deep": {"er": float("nan")}}):
        with pytest.raises(ValueError):
            save(tmp_path / "c", {}, {"x": value})
    for other in (np.float32(1), {1, 2}, object(), b"bytes"):
        with pytest.raises(TypeError):
            save(tmp_path / "c", {}, {"x": other})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("array", [np.array([None]), np.array(["a"]), np.ones(2, complex), np.ones(1, "M8[D]")])
def test_arrays_of_other_things_than_numbers_are_refused_by_name(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(TypeError, match=r"'the name'"):
        save(tmp_path / "c", {"the name": array}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", ["fsync", "replace", "interrupt"])
def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "c.safetensors"
    before = small(path)

    def fail(*args: Any) -> None:
        raise KeyboardInterrupt if failing == "interrupt" else OSError(28, "No space left on device")

    monkeypatch.setattr(Path if failing == "replace" else os, "replace" if failing == "replace" else "fsync", fail)
    with pytest.raises(BaseException, match=r"No space|^$"):
        save(path, {"model.w": np.zeros(3)}, {})
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_is_complete_and_synced_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace, fsync = Path.replace, os.fsync

    def noted_replace(self: Path, target: Any) -> Path:
        assert load(self).meta == {"x": 1}
        done.append("renamed")
        return replace(self, target)

    def noted_fsync(descriptor: int) -> None:
        done.append("folder synced" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file synced")
        fsync(descriptor)

    monkeypatch.setattr(Path, "replace", noted_replace)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    save(tmp_path / "c", {"a": np.ones(2)}, {"x": 1})
    assert done[:2] == ["file synced", "renamed"]
    assert done[2:] in ([], ["folder synced"])  # some systems cannot


def test_folders_on_the_way_are_made_and_the_file_can_be_read_as_others_can(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c"
    save(path, {}, {})
    other = tmp_path / "other"
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_part_takes_the_arrays_below_a_name(tmp_path: Path) -> None:
    found = Checkpoint({"model.a.b": np.ones(1), "model2.a": np.zeros(1), "state.0": np.zeros(2)}, {})
    assert list(found.part("model")) == ["a.b"] and list(found.part("state")) == ["0"] and found.part("other") == {}
