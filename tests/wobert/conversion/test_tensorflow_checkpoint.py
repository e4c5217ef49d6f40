from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nlpkit.wobert.conversion.tensorflow_checkpoint import read_tf_checkpoint
from tests.reference import tensor_bundle_writer as writer

FIXTURES = Path(__file__).parents[1] / "fixtures"
WRITTEN_BY_TENSORFLOW = ["tf_bert_tiny", "tf_roformer_tiny", "tf_types"]
TYPES_DATA = [f"model.ckpt-3.data-0000{shard}-of-00003" for shard in range(3)]


def expected(folder: str) -> dict[str, Any]:
    return json.loads((FIXTURES / folder / "expected.json").read_text())


@pytest.fixture
def types(tmp_path: Path) -> Path:
    """A copy, to be damaged, of the fixture with every type, three data files and two partitioned tensors."""
    return Path(shutil.copytree(FIXTURES / "tf_types", tmp_path / "types"))


@pytest.mark.parametrize("folder", WRITTEN_BY_TENSORFLOW)
def test_tensors_that_tensorflow_wrote_are_read_bit_for_bit(folder: str) -> None:
    checkpoint = read_tf_checkpoint(FIXTURES / folder)
    tensors = expected(folder)["tensors"]
    assert expected(folder)["written_by"].startswith("TensorFlow 2.")
    assert set(checkpoint) - {"string"} == set(tensors)
    for name, tensor in tensors.items():
        array = checkpoint[name]
        assert isinstance(array, np.ndarray)
        assert (array.dtype.str, list(array.shape)) == (tensor["dtype"], tensor["shape"]), name
        assert hashlib.sha256(array.tobytes()).hexdigest() == tensor["sha256"], name
        assert np.abs(array).sum(dtype=np.float64) == pytest.approx(tensor["sum_of_magnitudes"])


def test_strings_are_read_as_bytes() -> None:
    strings = read_tf_checkpoint(FIXTURES / "tf_types")["string"]
    assert [[text.hex() for text in row] for row in strings] == expected("tf_types")["string"]


def test_a_checkpoint_is_a_mapping_that_knows_shapes_without_reading(types: Path) -> None:
    checkpoint = read_tf_checkpoint(types)
    for file in TYPES_DATA:
        (types / file).write_bytes(bytes((types / file).stat().st_size))
    assert len(checkpoint) == len(list(checkpoint)) == 20
    assert checkpoint.shape("rows") == (70, 2)
    assert checkpoint.shape("scalar") == ()
    assert "rows" in checkpoint
    assert "absent" not in checkpoint
    assert 3 not in checkpoint
    assert "20 tensors" in repr(checkpoint)
    with pytest.raises(KeyError, match="absent"):
        checkpoint["absent"]


def test_only_the_tensors_asked_for_are_read(types: Path) -> None:
    checkpoint = read_tf_checkpoint(types)
    intact = {name: checkpoint[name] for name in checkpoint}
    broken = expose_tensor(types, intact["float64"].tobytes())
    for name, array in intact.items():
        if name != "float64":
            assert np.array_equal(checkpoint[name], array), name
    with pytest.raises(ValueError, match=f"{broken}: tensor 'float64' is damaged: its checksum does not match"):
        checkpoint["float64"]


def expose_tensor(folder: Path, stored: bytes) -> Path:
    """Flip one bit of a tensor and return the file that holds it."""
    for file in TYPES_DATA:
        data = (folder / file).read_bytes()
        if stored in data:
            position = data.index(stored)
            (folder / file).write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
            return folder / file
    raise AssertionError("no data file holds the tensor")


def test_a_look_up_gives_an_array_of_ones_own() -> None:
    checkpoint = read_tf_checkpoint(FIXTURES / "tf_types")
    checkpoint["float32"][:] = 0
    assert checkpoint["float32"].any()


def test_a_checkpoint_can_be_pickled() -> None:
    checkpoint = read_tf_checkpoint(FIXTURES / "tf_types")
    assert np.array_equal(pickle.loads(pickle.dumps(checkpoint))["rows"], checkpoint["rows"])


@pytest.mark.parametrize("ending", ["", ".index", ".meta", ".data-00001-of-00003"])
def test_the_prefix_or_any_file_of_the_checkpoint_names_it(ending: str) -> None:
    assert "rows" in read_tf_checkpoint(str(FIXTURES / "tf_types" / f"model.ckpt-3{ending}"))


def test_of_several_checkpoints_the_state_file_names_the_one_wherever_it_was_written(types: Path) -> None:
    writer.write_bundle(types / "model.ckpt-9", {"later": np.zeros(2, np.float32)})
    (types / "checkpoint").write_text(
        'model_checkpoint_path: "/elsewhere/model.ckpt-9"\nall_model_checkpoint_paths: "x"\n'
    )
    assert list(read_tf_checkpoint(types)) == ["later"]


def test_several_checkpoints_without_a_state_file_are_listed(types: Path) -> None:
    writer.write_bundle(types / "model.ckpt-9", {"later": np.zeros(2, np.float32)})
    with pytest.raises(
        ValueError, match=r"holds several checkpoints; give the prefix .*model.ckpt-3, .*model.ckpt-9$"
    ):
        read_tf_checkpoint(types)


def test_a_state_file_that_names_nothing_is_refused(types: Path) -> None:
    (types / "checkpoint").write_text("")
    with pytest.raises(ValueError, match=f"{types}/checkpoint: names no checkpoint"):
        read_tf_checkpoint(types)


@pytest.mark.parametrize("path", ["", "model.ckpt"])
def test_a_path_without_a_checkpoint_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"no TensorFlow checkpoint; .*\.index"):
        read_tf_checkpoint(tmp_path / path)


def test_a_v1_checkpoint_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"old V1 format.*save it with tf\.raw_ops\.SaveV2"):
        read_tf_checkpoint(FIXTURES / "tf_v1" / "bert_model.ckpt")


@pytest.mark.parametrize("file", TYPES_DATA)
def test_a_missing_data_file_is_named_on_opening(types: Path, file: str) -> None:
    (types / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"{types}/{file}: missing; put all 3 data files beside the index"):
        read_tf_checkpoint(types)


@pytest.mark.parametrize("file", TYPES_DATA)
def test_a_data_file_that_lacks_its_last_byte_is_named_on_opening(types: Path, file: str) -> None:
    data = (types / file).read_bytes()
    (types / file).write_bytes(data[:-1])
    with pytest.raises(ValueError, match=f"{types}/{file}: cut short: it has {len(data) - 1} bytes .* {len(data)}"):
        read_tf_checkpoint(types)


def test_a_data_file_cut_short_after_opening_is_noticed(types: Path) -> None:
    checkpoint = read_tf_checkpoint(types)
    (types / TYPES_DATA[1]).write_bytes(b"")
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint["rows"]


def test_every_flipped_byte_of_data_fails_the_tensor_it_belongs_to(types: Path) -> None:
    checkpoint = read_tf_checkpoint(types)
    for file in TYPES_DATA:
        data = (types / file).read_bytes()
        for position in range(len(data)):
            (types / file).write_bytes(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :])
            assert len([name for name in checkpoint if is_damaged(checkpoint, name)]) == 1, (file, position)
        (types / file).write_bytes(data)


def is_damaged(checkpoint: Any, name: str) -> bool:
    try:
        checkpoint[name]
    except ValueError as error:
        return f"tensor {name!r} is damaged" in str(error)
    return False


def test_every_flipped_byte_of_the_index_is_noticed_or_changes_nothing(types: Path) -> None:
    index = types / "model.ckpt-3.index"
    whole = index.read_bytes()
    intact = read_tf_checkpoint(types)
    noticed = 0
    for position in range(len(whole)):
        index.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            assert read_tf_checkpoint(types)._entries == intact._entries
        except ValueError as error:
            assert str(index) in str(error)
            noticed += 1
    assert noticed > len(whole) - 60  # all but the empty block of meta-data, its handle, and the footer's padding


def test_every_truncation_of_the_index_is_noticed(types: Path) -> None:
    index = types / "model.ckpt-3.index"
    whole = index.read_bytes()
    for size in range(len(whole)):
        index.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"{index}: not a LevelDB-style table, or cut short"):
            read_tf_checkpoint(types)


def rewrite_index(folder: Path, table: dict[bytes, bytes]) -> Path:
    """Give a copy of the fixture another index, checksums in order."""
    index = folder / "model.ckpt-3.index"
    writer.write_table(index, table)
    (folder / "model.ckpt-3.data-00000-of-00001").write_bytes(bytes(range(100)))
    return index


def test_an_index_without_a_header_is_refused(types: Path) -> None:
    index = rewrite_index(types, {b"name": writer.entry(np.zeros(2, np.float32))})
    with pytest.raises(ValueError, match=f"{index}: .* not the index of a TensorFlow checkpoint"):
        read_tf_checkpoint(types)


def test_an_index_from_a_big_endian_machine_is_refused(types: Path) -> None:
    rewrite_index(types, {b"": writer.header(endianness=1)})
    with pytest.raises(ValueError, match="big-endian"):
        read_tf_checkpoint(types)


def test_an_entry_whose_bytes_do_not_fill_its_shape_is_refused(types: Path) -> None:
    wrong = writer.entry(np.frombuffer(bytes(range(8)), np.float32)) + writer.bytes_field(
        2, writer.bytes_field(2, writer.number_field(1, 3))
    )
    rewrite_index(types, {b"": writer.header(), b"name": wrong})
    with pytest.raises(ValueError, match=r"tensor 'name' is damaged: 8 bytes do not fill shape \(2, 3\)"):
        read_tf_checkpoint(types)["name"]


def test_a_type_that_numpy_lacks_is_refused_by_number(types: Path) -> None:
    variant = writer.entry(np.frombuffer(bytes(range(8)), np.float32)) + writer.number_field(1, 21)
    rewrite_index(types, {b"": writer.header(), b"name": variant})
    with pytest.raises(ValueError, match="tensor 'name' is of TensorFlow's type number 21"):
        read_tf_checkpoint(types)["name"]


def partitioned(rows: int, part: int) -> bytes:
    """The entry of a float32 tensor of so many rows, of which only the first part is stored."""
    extent = writer.bytes_field(1, writer.number_field(1, 0) + writer.number_field(2, part))
    shape = writer.bytes_field(2, writer.number_field(1, rows))
    return writer.number_field(1, 1) + writer.bytes_field(2, shape) + writer.bytes_field(7, extent)


def test_a_partitioned_tensor_that_lacks_a_part_is_refused(types: Path) -> None:
    rewrite_index(types, {b"": writer.header(), b"name": partitioned(rows=2, part=2)})
    with pytest.raises(ValueError, match=r"tensor 'name' is partitioned, and lacks its part \(\(0, 2\),\)"):
        read_tf_checkpoint(types)["name"]


def test_parts_that_do_not_fill_their_tensor_are_refused(types: Path) -> None:
    key = b"\0name\0\1\1\1\x80\x82"  # zero, the name, its end, one dimension (a byte long), from 0, two of them
    part = writer.entry(np.frombuffer(bytes(range(8)), np.float32))
    rewrite_index(types, {b"": writer.header(), b"name": partitioned(rows=5, part=2), key: part})
    with pytest.raises(ValueError, match=r"the parts of 'name' do not fill its shape \(5,\)"):
        read_tf_checkpoint(types)["name"]
